import { createEventfd, drainEventfd, Mapping, raw, signalEventfd, viewMemory } from 'memfd-mmap'
import { type ChainSegment, GuestMemory, inflightStride, PACKED_BASE_NEW } from 'vhost-user-protocol-ts'
import type { HostRing, InflightArea } from '../../iothreads/index.js'
import { ringKind } from './ring-kind.js'
import type { Teardown } from './teardown.js'
import { createRing, type RingDriver, ringBytes } from './vhost/ring-driver.js'

export interface MainRingOptions {
  readonly size?: number
  readonly eventIdx?: boolean
  /** false: no kick descriptor, the ring is to be polled. */
  readonly kick?: boolean
  readonly packed?: boolean
  /** What is in flight is noted: a queue that is opened later goes on there. */
  readonly inflight?: boolean
}

/** Guest address of the first byte. */
const BASE = 0x10000
const BYTES = 2 ** 20
const ENTRIES = 64

/** A ring for a queue of the main loop, in memory of this process, and the driver's side of it. */
export class MainRing {
  readonly memory: GuestMemory
  readonly driver: RingDriver
  readonly kickFd: number
  readonly callFd = createEventfd()
  readonly errFd = createEventfd()
  readonly #mapping = Mapping.anonymous(BYTES)
  readonly #bytes = new Uint8Array(this.#mapping.view())
  readonly #eventIdx: boolean
  readonly #heads: Int32Array
  #free: number
  #inflight: InflightArea | undefined

  constructor(
    t: Teardown,
    { size = 8, eventIdx = true, kick = true, packed = ringKind.packed, inflight = false }: MainRingOptions = {},
  ) {
    const hostAddress = this.#mapping.address
    this.memory = new GuestMemory([{ guestAddress: BASE, size: BYTES, userAddress: BASE, hostAddress }])
    this.#eventIdx = eventIdx
    this.#heads = new Int32Array(size)
    this.driver = createRing(packed, {
      size,
      buffer: this.#bytes.buffer,
      byteOffset: 0,
      guestAddress: BASE,
      eventIdx,
      indirectEntries: ENTRIES,
    })
    this.driver.enableInterrupts()
    this.#free = Math.ceil(ringBytes(packed, size, ENTRIES) / 64) * 64
    if (inflight) {
      const length = inflightStride(packed ? 'packed' : 'split', size)
      this.#inflight = { address: this.memory.translate(this.take(length), length), length, entries: size }
    }
    this.kickFd = kick ? createEventfd() : -1
    t.teardown(() => {
      for (const fd of [this.kickFd, this.callFd, this.errFd]) if (fd >= 0) raw.close(fd)
      this.#mapping.retire()
    })
  }

  /** As the device gets it. */
  host(base?: number): HostRing {
    const { packed, size, descAddress, availAddress, usedAddress } = this.driver
    const host = (address: number): number => this.memory.translate(address, 1)
    return {
      index: 0,
      packed,
      size,
      base: base ?? (packed ? PACKED_BASE_NEW : 0),
      desc: host(descAddress),
      avail: host(availAddress),
      used: host(usedAddress),
      eventIdx: this.#eventIdx,
      indirect: true,
      kickFd: this.kickFd,
      callFd: this.callFd,
      errFd: this.errFd,
      ...(this.#inflight !== undefined && { inflight: this.#inflight }),
    }
  }

  /** What the inflight region has, if there is one. */
  get noted(): Uint8Array {
    const { address, length } = this.#inflight!
    return new Uint8Array(viewMemory(address, length))
  }

  /** Memory that nobody else has; its guest address. */
  take(length: number): number {
    const address = BASE + this.#free
    this.#free += Math.ceil(length / 16) * 16
    return address
  }

  bytes(address: number, length: number): Uint8Array {
    return this.#bytes.subarray(address - BASE, address - BASE + length)
  }

  /** A copy of all of its memory. */
  image(): Buffer {
    return Buffer.from(this.#bytes)
  }

  /** Puts a request into the ring: its bytes, and room for an answer, filled with 0xee. The guest address of the room. */
  add(readable: Uint8Array, writable: number): { head: number; answer: number } {
    const segments: ChainSegment[] = []
    if (readable.length > 0) {
      const address = this.take(readable.length)
      this.bytes(address, readable.length).set(readable)
      segments.push({ address, length: readable.length, writable: false })
    }
    const answer = this.take(writable)
    this.bytes(answer, writable).fill(0xee)
    if (writable > 0) segments.push({ address: answer, length: writable, writable: true })
    return { head: this.driver.add(segments), answer }
  }

  /** Shows what was added; kicks, if the device wants that. */
  publish(): void {
    if (this.driver.publish()) this.kick()
  }

  kick(): void {
    signalEventfd(this.kickFd)
  }

  /** What has come back since the last time: heads and used lengths. */
  reap(): { head: number; length: number }[] {
    const count = this.driver.reap(this.#heads)
    this.driver.enableInterrupts()
    return [...this.#heads.subarray(0, count)].map((head) => {
      const length = this.driver.usedLength[head]!
      this.driver.release(head)
      return { head, length }
    })
  }

  /** Interrupts since the last time, and signals of the error descriptor. */
  get calls(): number {
    return drainEventfd(this.callFd)
  }

  get errors(): number {
    return drainEventfd(this.errFd)
  }
}
