import { connectUnix, createEventfd, drainEventfd, FdPoll, raw, signalEventfd } from 'memfd-mmap'
import {
  availBytes,
  DESC,
  type DriverAllocation,
  descBytes,
  FrontEnd,
  usedBytes,
  usedEventOffset,
} from 'vhost-user-protocol-ts'
import { within } from '../deadline.js'
import type { Teardown } from '../teardown.js'
import { type Negotiated, type NegotiationOptions, negotiate } from '../vhost/negotiate.js'
import { type RegionOptions, SharedMemory } from '../vhost/shared-memory.js'
import { PATIENCE } from './bed.js'

/** A descriptor, as wrong as may be. */
export interface RawDescriptor {
  readonly address: number | bigint
  readonly length: number
  readonly flags?: number
  readonly next?: number
}

export interface RawGuestOptions extends NegotiationOptions {
  readonly memory: readonly RegionOptions[]
  /** The region for the rings. */
  readonly ringRegion?: number
  readonly ringSize: number
  readonly rings: number
}

/** What became of what was put into a ring. */
export type Outcome = 'used' | 'broken'

/** A ring without any book-keeping: bytes in memory, three eventfds, and the messages that start and stop it. */
export class RawRing {
  readonly index: number
  readonly size: number
  readonly desc: DriverAllocation
  readonly avail: DriverAllocation
  readonly used: DriverAllocation
  readonly kickFd = createEventfd()
  readonly callFd = createEventfd()
  readonly errFd = createEventfd()
  readonly #guest: RawGuest
  readonly #descView: DataView
  readonly #availView: DataView
  readonly #usedView: DataView
  readonly #polls: FdPoll[]
  #errors = 0
  #wake: () => void = () => {}

  constructor(guest: RawGuest, index: number, size: number, region: number) {
    this.#guest = guest
    this.index = index
    this.size = size
    const take = (bytes: number): [DriverAllocation, DataView] => {
      const area = guest.memory.allocate(bytes, 64, region)
      return [area, new DataView(area.buffer, area.byteOffset, bytes)]
    }
    ;[this.desc, this.#descView] = take(descBytes(size))
    ;[this.avail, this.#availView] = take(availBytes(size))
    ;[this.used, this.#usedView] = take(usedBytes(size))
    this.#polls = [this.callFd, this.errFd].map((fd) => {
      const poll = new FdPoll(fd, { readable: true }, () => {
        const count = drainEventfd(fd)
        if (fd === this.errFd) this.#errors += Math.max(0, count)
        this.#wake()
      })
      poll.unref()
      return poll
    })
  }

  /** All descriptors, rings and indexes to zero. */
  clear(): void {
    for (const view of [this.#descView, this.#availView, this.#usedView]) {
      new Uint8Array(view.buffer, view.byteOffset, view.byteLength).fill(0)
    }
    drainEventfd(this.errFd)
    this.#errors = 0
  }

  describe(index: number, { address, length, flags = 0, next = 0 }: RawDescriptor): void {
    writeDescriptor(this.#descView, DESC.SIZE * index, { address, length, flags, next })
  }

  /** Puts heads into the available ring from entry `from` on; they are not shown yet. */
  enter(from: number, heads: readonly number[]): void {
    heads.forEach((head, i) => {
      this.#availView.setUint16(4 + 2 * ((from + i) % this.size), head, true)
    })
  }

  /** Shows the device an available index, and kicks it. */
  show(index: number): void {
    Atomics.store(new Uint16Array(this.avail.buffer, this.avail.byteOffset, 2), 1, index & 0xffff)
    signalEventfd(this.kickFd)
  }

  get availableIndex(): number {
    return this.#availView.getUint16(2, true)
  }

  set availableIndex(index: number) {
    this.#availView.setUint16(2, index, true)
  }

  /** The available ring's flags and used_event. */
  setInterrupts(flags: number, usedEvent: number): void {
    this.#availView.setUint16(0, flags, true)
    this.#availView.setUint16(usedEventOffset(this.size), usedEvent, true)
  }

  get usedIndex(): number {
    return Atomics.load(new Uint16Array(this.used.buffer, this.used.byteOffset, 2), 1)
  }

  set usedIndex(index: number) {
    this.#usedView.setUint16(2, index, true)
  }

  usedElement(i: number): { id: number; length: number } {
    const at = 4 + 8 * (i % this.size)
    return { id: this.#usedView.getUint32(at, true), length: this.#usedView.getUint32(at + 4, true) }
  }

  /** Sets the ring up and enables it. */
  async start(base = 0): Promise<void> {
    const { frontEnd, memory } = this.#guest
    const { index } = this
    await frontEnd.setVringNum(index, this.size)
    await frontEnd.setVringBase(index, base)
    await frontEnd.setVringAddr({
      index,
      flags: 0,
      desc: memory.userAddress(this.desc.address),
      avail: memory.userAddress(this.avail.address),
      used: memory.userAddress(this.used.address),
      log: 0,
    })
    await frontEnd.setVringKick(index, this.kickFd)
    await frontEnd.setVringCall(index, this.callFd)
    await frontEnd.setVringErr(index, this.errFd)
    await frontEnd.setVringEnable(index, true)
  }

  /** Where the device stopped. */
  async stop(): Promise<number> {
    await this.#guest.frontEnd.setVringEnable(this.index, false)
    return within(PATIENCE, `stop of ring ${this.index}`, this.#guest.frontEnd.getVringBase(this.index))
  }

  /** Waits until the used index is there, or (with undefined: only for) the device to give the ring up. */
  async settled(usedIndex: number | undefined): Promise<Outcome> {
    const end = performance.now() + PATIENCE
    for (;;) {
      this.#errors += Math.max(0, drainEventfd(this.errFd))
      if (this.#errors > 0) return 'broken'
      if (usedIndex !== undefined && this.usedIndex === (usedIndex & 0xffff)) return 'used'
      if (performance.now() > end) throw new Error(`ring ${this.index}: used index ${this.usedIndex}, not ${usedIndex}`)
      // The device need not tell, if the ring says so: then it is looked at again.
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, 10)
        this.#wake = () => {
          clearTimeout(timer)
          resolve()
        }
      })
    }
  }

  close(): void {
    for (const poll of this.#polls) poll.close()
    for (const fd of [this.kickFd, this.callFd, this.errFd]) raw.close(fd)
  }
}

/** A front end that hands over memory and starts rings, and for the rest lets the test write what it likes where it likes. */
export class RawGuest {
  readonly frontEnd: FrontEnd
  readonly memory: SharedMemory
  readonly rings: readonly RawRing[]
  readonly negotiated: Negotiated
  #closed = false

  private constructor(frontEnd: FrontEnd, negotiated: Negotiated, o: RawGuestOptions) {
    this.frontEnd = frontEnd
    this.negotiated = negotiated
    this.memory = new SharedMemory(o.memory)
    this.rings = Array.from({ length: o.rings }, (_, i) => new RawRing(this, i, o.ringSize, o.ringRegion ?? 0))
  }

  static async connect(t: Teardown, socketPath: string, o: RawGuestOptions): Promise<RawGuest> {
    const frontEnd = new FrontEnd(connectUnix(socketPath))
    const negotiated = await within(PATIENCE, 'vhost-user negotiation', negotiate(frontEnd, o))
    const guest = new RawGuest(frontEnd, negotiated, o)
    t.teardown(() => guest.close())
    await frontEnd.setFeatures(negotiated.features)
    for (const region of guest.memory.regions) await frontEnd.addMemReg(region, region.fd)
    return guest
  }

  ring(index: number): RawRing {
    const ring = this.rings[index]
    if (ring === undefined) throw new RangeError(`no ring ${index}`)
    return ring
  }

  /** Writes an indirect table at a guest address. */
  writeTable(address: number, descriptors: readonly RawDescriptor[]): void {
    const bytes = this.memory.bytes(address, DESC.SIZE * descriptors.length)
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    descriptors.forEach((descriptor, i) => {
      writeDescriptor(view, DESC.SIZE * i, descriptor)
    })
  }

  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    this.frontEnd.close()
    await this.frontEnd.closed
    for (const ring of this.rings) ring.close()
    this.memory.close()
  }
}

function writeDescriptor(view: DataView, at: number, descriptor: RawDescriptor): void {
  view.setBigUint64(at + DESC.ADDRESS, BigInt(descriptor.address), true)
  view.setUint32(at + DESC.LENGTH, descriptor.length, true)
  view.setUint16(at + DESC.FLAGS, descriptor.flags ?? 0, true)
  view.setUint16(at + DESC.NEXT, descriptor.next ?? 0, true)
}
