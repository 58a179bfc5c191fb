import { close, signalEventfd } from 'memfd-mmap'
import { PACKED_BASE_NEW } from '../virtio/packed-virtqueue.js'
import type { BackendDevice, RingSetup } from './backend-device.js'
import { type Refusal, RefusedError } from './errors.js'
import { requireEventfd } from './eventfd-check.js'
import { hasFeature, VHOST_F, VIRTIO_F } from './features.js'
import { VRING_ADDRESS_F, type VringAddress } from './messages/vring.js'

/** Most entries of a ring (virtio 1.3 2.7 and 2.8.10.1). */
export const MAX_RING_SIZE = 32768

/** Alignment of the three parts of a split ring (virtio 1.3 2.7). */
const SPLIT_ALIGNMENT = { desc: 16, avail: 2, used: 4 } as const
/** Alignment of the descriptor ring and the two event suppression structures (virtio 1.3 2.8.10.1). */
const PACKED_ALIGNMENT = { desc: 16, avail: 4, used: 4 } as const

/** What the ring asks of its session. */
export interface VringHost {
  readonly device: Pick<BackendDevice, 'startRing' | 'stopRing' | 'setCall' | 'setErr'>
  /** The virtio features in force. */
  readonly features: bigint
  ringStarted(setup: RingSetup): void
  ringStopped(index: number, base: number): void
}

/**
 * One ring as the front end has set it up (vhost-user.rst "Ring states"): started by SET_VRING_KICK, stopped by
 * GET_VRING_BASE, and independently enabled or disabled. While it is both started and enabled it is active, and the device
 * runs it. Owns the kick, call and error descriptors: every set method takes its descriptor over, also when it fails.
 */
export class Vring {
  readonly index: number
  readonly #host: VringHost
  #size = 0
  /** undefined: that of a ring that nobody has used. */
  #base: number | undefined
  #address: VringAddress | undefined
  #kick = -1
  #call = -1
  #err = -1
  #started = false
  #enabled = false
  #active = false

  constructor(index: number, host: VringHost) {
    this.index = index
    this.#host = host
  }

  get size(): number {
    return this.#size
  }

  /** Where the ring stands: what was set, or where the device stopped. Behind the times while the ring is active. */
  get base(): number {
    return this.#base ?? (this.#packed ? PACKED_BASE_NEW : 0)
  }

  get started(): boolean {
    return this.#started
  }

  get enabled(): boolean {
    return this.#enabled
  }

  get active(): boolean {
    return this.#active
  }

  /** SET_VRING_NUM. @throws {RefusedError} */
  setSize(size: number): void {
    this.#mustRest()
    this.#checkSize(size)
    this.#size = size
  }

  /** SET_VRING_BASE. @throws {RefusedError} */
  setBase(base: number): void {
    this.#mustRest()
    this.#checkBase(base)
    this.#base = base
  }

  /**
   * SET_VRING_ADDR. An active ring continues with the new set-up where it was: so logging is turned on and off.
   * @throws {RefusedError}
   */
  async setAddress(address: VringAddress): Promise<void> {
    this.#checkAlignment(address)
    if ((address.flags & ~this.#knownFlags) !== 0) {
      throw this.#refusal('VUS_RING_FLAGS', `flags 0x${address.flags.toString(16)}`)
    }
    const before = this.#address
    if (this.#active && before !== undefined && sameAddress(before, address)) return
    await this.#deactivate()
    this.#address = address
    await this.#start()
  }

  /** SET_VRING_KICK: -1 means that the ring is to be polled. Starts the ring. @throws {RefusedError} */
  async setKick(fd: number): Promise<void> {
    await this.#adopt(fd, async () => {
      await this.#deactivate()
      closeFd(this.#kick)
      this.#kick = fd
      this.#started = true
    })
    await this.#start()
  }

  /**
   * SET_VRING_CALL. On an active ring the new descriptor is signalled once: what was completed before it came went to a
   * descriptor that perhaps nobody watches (QEMU's masked one).
   * @throws {RefusedError}
   */
  async setCall(fd: number): Promise<void> {
    await this.#adopt(fd, async () => {
      if (this.#active) await this.#host.device.setCall(this.index, fd)
      closeFd(this.#call)
      this.#call = fd
    })
    if (this.#active) this.#signalCall()
  }

  /** SET_VRING_ERR. @throws {RefusedError} */
  async setErr(fd: number): Promise<void> {
    await this.#adopt(fd, async () => {
      if (this.#active) await this.#host.device.setErr(this.index, fd)
      closeFd(this.#err)
      this.#err = fd
    })
  }

  /** SET_VRING_ENABLE; also what SET_FEATURES without PROTOCOL_FEATURES does. @throws {RefusedError} */
  async setEnabled(enabled: boolean): Promise<void> {
    if (!enabled) {
      this.#enabled = false
      await this.#deactivate()
      return
    }
    const before = this.#enabled
    this.#enabled = true
    try {
      await this.#activate()
    } catch (error) {
      this.#enabled = before
      throw error
    }
  }

  /** GET_VRING_BASE: drains and stops the ring, forgets kick and call; where it stands. */
  async stop(): Promise<number> {
    await this.#deactivate()
    this.#started = false
    this.#dropKick()
    closeFd(this.#call)
    this.#call = -1
    return this.base
  }

  /**
   * RESET_DEVICE: stopped, disabled, nothing set. The call and error descriptors stay, as front ends send them at connect and
   * not again.
   */
  async reset(): Promise<void> {
    this.#enabled = false
    await this.#deactivate(true)
    this.#started = false
    this.#size = 0
    this.#base = undefined
    this.#address = undefined
    this.#dropKick()
  }

  /** Stops processing because the connection is over. `discard`: see BackendDevice.stopRing. */
  async quit(discard: boolean): Promise<void> {
    this.#enabled = false
    await this.#deactivate(discard)
  }

  /** Closes the descriptors. Only when the device no longer uses them. */
  release(): void {
    this.#started = false
    this.#dropKick()
    closeFd(this.#call)
    closeFd(this.#err)
    this.#call = -1
    this.#err = -1
  }

  /** Runs `take` with a checked descriptor; closes it when that fails before it was stored. */
  async #adopt(fd: number, take: () => Promise<void>): Promise<void> {
    try {
      if (fd >= 0) requireEventfd(fd)
      await take()
    } catch (error) {
      closeFd(fd)
      throw error
    }
  }

  /** Activates a ring that is started; one that cannot run is stopped again. */
  async #start(): Promise<void> {
    try {
      await this.#activate()
    } catch (error) {
      this.#started = false
      this.#dropKick()
      throw error
    }
  }

  async #activate(): Promise<void> {
    if (!this.#started || !this.#enabled || this.#active) return
    const setup = this.#setup()
    await this.#host.device.startRing(setup)
    this.#active = true
    this.#host.ringStarted(setup)
    // After a crash, completions may be in the used ring that nobody was told of.
    this.#signalCall()
  }

  async #deactivate(discard = false): Promise<void> {
    if (!this.#active) return
    this.#base = await this.#host.device.stopRing(this.index, discard)
    this.#active = false
    this.#host.ringStopped(this.index, this.base)
  }

  #setup(): RingSetup {
    const address = this.#address
    if (this.#size === 0 || address === undefined) throw this.#refusal('VUS_RING_NOT_CONFIGURED')
    // Again: the features may have changed since the messages came.
    this.#checkSize(this.#size)
    this.#checkBase(this.base)
    this.#checkAlignment(address)
    return {
      index: this.index,
      size: this.#size,
      base: this.base,
      desc: address.desc,
      avail: address.avail,
      used: address.used,
      logAddress: address.log,
      flags: address.flags & this.#knownFlags,
      kickFd: this.#kick,
      callFd: this.#call,
      errFd: this.#err,
      features: this.#host.features,
    }
  }

  get #packed(): boolean {
    return hasFeature(this.#host.features, VIRTIO_F.RING_PACKED)
  }

  #mustRest(): void {
    if (this.#active) throw this.#refusal('VUS_RING_RUNNING')
  }

  #checkSize(size: number): void {
    const fits = size > 0 && size <= MAX_RING_SIZE && (this.#packed || (size & (size - 1)) === 0)
    if (!fits) throw this.#refusal('VUS_RING_SIZE', `${size} entries`)
  }

  #checkBase(base: number): void {
    if (!this.#packed && base > 0xffff) throw this.#refusal('VUS_RING_BASE', `base 0x${base.toString(16)}`)
  }

  /** The flags of SET_VRING_ADDR that mean something now. */
  get #knownFlags(): number {
    return hasFeature(this.#host.features, VHOST_F.LOG_ALL) ? VRING_ADDRESS_F.LOG : 0
  }

  #checkAlignment(address: VringAddress): void {
    const alignment = this.#packed ? PACKED_ALIGNMENT : SPLIT_ALIGNMENT
    for (const part of ['desc', 'avail', 'used'] as const) {
      if (address[part] % alignment[part] !== 0) {
        throw this.#refusal('VUS_RING_ALIGNMENT', `${part} at 0x${address[part].toString(16)}`)
      }
    }
  }

  #refusal(code: Refusal, detail?: string): RefusedError {
    return new RefusedError(code, detail === undefined ? `ring ${this.index}` : `ring ${this.index}, ${detail}`)
  }

  #signalCall(): void {
    if (this.#call >= 0) signalEventfd(this.#call)
  }

  #dropKick(): void {
    closeFd(this.#kick)
    this.#kick = -1
  }
}

function closeFd(fd: number): void {
  if (fd >= 0) close(fd)
}

function sameAddress(a: VringAddress, b: VringAddress): boolean {
  return a.flags === b.flags && a.desc === b.desc && a.avail === b.avail && a.used === b.used && a.log === b.log
}
