import { connectUnix, createEventfd, createMemfd, drainEventfd, Mapping, raw, signalEventfd } from 'memfd-mmap'
import {
  FrontEnd,
  featureMask,
  hasFeature,
  type InflightBuffer,
  VHOST_F,
  VHOST_USER_F,
  VHOST_USER_PROTOCOL_F,
  VIRTIO_F,
  VIRTIO_SCSI_F,
  VQ,
  VRING_ADDRESS_F,
} from 'vhost-user-protocol-ts'
import { within } from '../deadline.js'
import { Random } from '../random.js'
import { negotiate } from '../vhost/negotiate.js'
import { type FuzzBed, PATIENCE } from './fuzz-bed.js'
import { FuzzMemory, MAX_RINGS, PLACE, userAddress } from './fuzz-memory.js'
import { type Batch, BatchWriter, type Mode, type RingPlan } from './ring-batch.js'

const KIB = 2 ** 10
/** For what is not far away. */
const LOG_BYTES = 192 * KIB
/** How often is looked again whether a ring that may be broken is done. */
const ROUNDS = 3

const FEATURES = [
  VIRTIO_F.VERSION_1,
  VHOST_USER_F.PROTOCOL_FEATURES,
  VIRTIO_SCSI_F.HOTPLUG,
  VIRTIO_SCSI_F.CHANGE,
] as const

const PROTOCOL_FEATURES = featureMask(
  VHOST_USER_PROTOCOL_F.MQ,
  VHOST_USER_PROTOCOL_F.LOG_SHMFD,
  VHOST_USER_PROTOCOL_F.INFLIGHT_SHMFD,
  VHOST_USER_PROTOCOL_F.RESET_DEVICE,
  VHOST_USER_PROTOCOL_F.CONFIGURE_MEM_SLOTS,
)

/** What a connection has negotiated for its batches: all of it follows from a seed. */
interface Terms {
  readonly indirect: boolean
  readonly logged: boolean
  readonly inflight: 'none' | 'honest' | 'rubbish'
}

/** A guest that puts batches of chains into its rings, and starts these anew for each. */
export class RingFuzz {
  readonly memory = new FuzzMemory()
  readonly #bed: FuzzBed
  readonly #packed: boolean
  readonly #writer: BatchWriter
  readonly #kicks = Array.from({ length: MAX_RINGS }, () => createEventfd())
  readonly #calls = Array.from({ length: MAX_RINGS }, () => createEventfd())
  readonly #errs = Array.from({ length: MAX_RINGS }, () => createEventfd())
  #frontEnd: FrontEnd | undefined
  #ended = false
  #seed = 0
  #terms: Terms = { indirect: true, logged: false, inflight: 'none' }
  #inflight: { buffer: InflightBuffer; mapping: Mapping; bytes: Uint8Array } | undefined

  constructor(bed: FuzzBed, packed: boolean) {
    this.#bed = bed
    this.#packed = packed
    this.#writer = new BatchWriter(this.memory, packed, true)
  }

  /** Begins a connection as `seed` says. */
  async connect(seed: number): Promise<void> {
    await this.disconnect()
    this.#seed = seed
    const random = new Random(seed ^ 0x5eed)
    const logged = random.once(4)
    this.#terms = { indirect: !random.once(4), logged, inflight: random.pick(['none', 'honest', 'rubbish']) }
    const frontEnd = new FrontEnd(connectUnix(this.#bed.socketPath), { needReply: () => false })
    this.#frontEnd = frontEnd
    this.#ended = false
    void frontEnd.closed.then(() => {
      if (this.#frontEnd === frontEnd) this.#ended = true
    })
    const bits: number[] = [...FEATURES]
    if (this.#packed) bits.push(VIRTIO_F.RING_PACKED)
    if (this.#terms.indirect) bits.push(VIRTIO_F.INDIRECT_DESC)
    if (!random.once(4)) bits.push(VIRTIO_F.EVENT_IDX)
    if (logged) bits.push(VHOST_F.LOG_ALL)
    const options = { features: featureMask(...bits), protocolFeatures: PROTOCOL_FEATURES }
    const { features } = await within(PATIENCE, 'negotiation', negotiate(frontEnd, options))
    await frontEnd.resetDevice()
    await frontEnd.setFeatures(features)
    if (hasFeature(features, VIRTIO_F.RING_PACKED) !== this.#packed) throw new Error('RING_PACKED is not offered')
    for (const region of this.memory.regions) await frontEnd.addMemReg(region, region.fd)
    if (logged) {
      // Too short for some of it, in one case of two.
      const fd = createMemfd('fuzzed-log', LOG_BYTES)
      await frontEnd.setLogBase({ fd, offset: 0, size: random.pick([64, LOG_BYTES]) })
      raw.close(fd)
    }
    if (this.#terms.inflight !== 'none') {
      const buffer = await within(PATIENCE, 'an inflight buffer', frontEnd.getInflightFd(MAX_RINGS, 256))
      if (buffer === undefined) throw new Error('no inflight buffer')
      await frontEnd.setInflightFd(buffer)
      const mapping = Mapping.map({ fd: buffer.fd, length: buffer.size })
      this.#inflight = { buffer, mapping, bytes: new Uint8Array(mapping.view()) }
    }
    for (let index = 0; index < MAX_RINGS; index++) {
      await frontEnd.setVringCall(index, this.#calls[index]!)
      await frontEnd.setVringErr(index, this.#errs[index]!)
    }
    await within(PATIENCE, 'set-up', frontEnd.barrier())
  }

  async disconnect(): Promise<void> {
    this.#frontEnd?.close()
    await this.#frontEnd?.closed
    this.#frontEnd = undefined
    if (this.#inflight !== undefined) {
      raw.close(this.#inflight.buffer.fd)
      this.#inflight.mapping.retire()
      this.#inflight = undefined
    }
  }

  /**
   * Puts the batch of a seed into the rings and has it served. Throws when a ring does not stop, an honest one is not served, or
   * something else was written than may be.
   *
   * @param meanwhile somebody else changes the rings as well: nothing can be said of them
   */
  async run(seed: number, meanwhile = false): Promise<void> {
    const random = new Random(seed)
    const batch = this.#writer.begin(random, this.#terms.indirect)
    this.#prepareInflight(random, batch.mode)
    try {
      await this.#runLaps(random, batch, meanwhile)
    } catch (error) {
      // Nobody asked for acknowledgements: where an inflight buffer makes no sense, the connection ends.
      if (this.#terms.inflight !== 'rubbish' || batch.mode === 'honest' || !this.#ended) throw error
      await this.connect(this.#seed)
    }
  }

  async #runLaps(random: Random, batch: Batch, meanwhile: boolean): Promise<void> {
    const frontEnd = this.#frontEnd!
    const honest = batch.mode === 'honest' && !meanwhile
    let rings = batch.rings
    for (let lap = 0; lap < batch.laps && rings.length > 0; lap++) {
      const writable = this.#writer.fill(random, batch.mode, rings)
      if (honest) this.memory.remember()
      if (lap === 0) await this.#start(random, rings)
      for (const { index } of rings) signalEventfd(this.#kicks[index]!)
      const disturbance = random.once(12) ? this.#bed.disturb(random) : undefined
      const [alive] = await Promise.all([this.#settled(rings, honest), disturbance])
      // What nobody takes out of the event queue stays there.
      const missing = rings.filter((ring) => ring.index !== VQ.EVENT && !alive.includes(ring))
      if (honest && missing.length > 0) throw new Error(`rings ${missing.map(({ index }) => index)} are broken`)
      const stray = honest ? this.memory.stray(this.#allowed(batch.rings, writable)) : undefined
      if (stray !== undefined) throw new Error(`a stray write at ${stray}`)
      rings = alive
    }
    await this.#asked('stop', Promise.all(batch.rings.map(({ index }) => frontEnd.getVringBase(index))))
  }

  /** Those that are ready for more. Dishonest ones need not become so. */
  async #settled(rings: readonly RingPlan[], honest: boolean): Promise<RingPlan[]> {
    const end = performance.now() + PATIENCE
    for (let round = 0; ; round++) {
      await Promise.all([this.#bed.round(), this.#asked('look', this.#frontEnd!.barrier())])
      const alive = rings.filter(({ index }) => index !== VQ.EVENT && drainEventfd(this.#errs[index]!) === 0)
      const drained = alive.filter((ring) => this.#writer.drained(ring))
      if (drained.length === alive.length || (!honest && round >= ROUNDS)) return drained
      if (performance.now() > end) {
        const slow = alive.filter((ring) => !drained.includes(ring))
        throw new Error(`rings ${slow.map(({ index }) => index)} are not served`)
      }
    }
  }

  /** What a device may write: buffers, and its part of the rings. */
  #allowed(rings: readonly RingPlan[], writable: readonly number[]): number[] {
    const own = rings.flatMap(({ index, size }) => {
      const ring = PLACE.RINGS + 4 * KIB * index
      const used = [ring + PLACE.USED, this.#packed ? 4 : 6 + 8 * size]
      return this.#packed ? [...used, PLACE.DESCRIPTORS + 4 * KIB * index, 16 * size] : used
    })
    return [...writable, ...own]
  }

  /** A ring of honest chains has a buffer that nobody has used; others may find anything there. */
  #prepareInflight(random: Random, mode: Mode): void {
    const bytes = this.#inflight?.bytes
    if (bytes === undefined) return
    if (this.#terms.inflight === 'honest' || mode === 'honest') {
      bytes.fill(0)
    } else if (random.once(2)) {
      for (let i = 0; i < 512; i++) bytes[random.below(bytes.length)] = random.once(2) ? random.below(4) : random.next()
      // What says that somebody has noted something there.
      if (random.once(2)) for (let at = 8; at < bytes.length; at += 64) if (random.once(64)) bytes[at] = 1
    }
  }

  async #start(random: Random, rings: readonly RingPlan[]): Promise<void> {
    const frontEnd = this.#frontEnd!
    const log = this.#terms.logged && random.once(2)
    for (const { index, size, base } of rings) {
      const ring = userAddress(PLACE.RINGS + 4 * KIB * index)
      // Broken ones are told apart by it.
      drainEventfd(this.#errs[index]!)
      await frontEnd.setVringNum(index, size)
      await frontEnd.setVringBase(index, base)
      await frontEnd.setVringAddr({
        index,
        flags: log ? VRING_ADDRESS_F.LOG : 0,
        desc: userAddress(PLACE.DESCRIPTORS + 4 * KIB * index),
        avail: ring,
        used: ring + PLACE.USED,
        log: random.once(4) ? 2 ** 40 : PLACE.RINGS,
      })
      await frontEnd.setVringKick(index, this.#kicks[index]!)
      await frontEnd.setVringCall(index, this.#calls[index]!)
      await frontEnd.setVringEnable(index, true)
      if (random.once(2)) signalEventfd(this.#kicks[index]!)
    }
    await this.#asked('start', frontEnd.barrier())
  }

  async #asked<T>(what: string, answer: Promise<T>): Promise<T> {
    return this.#bed.explained(within(PATIENCE, `${what} of rings`, answer))
  }

  async close(): Promise<void> {
    await this.disconnect()
    for (const fd of [...this.#kicks, ...this.#calls, ...this.#errs]) raw.close(fd)
    this.memory.close()
  }
}
