/** A virtqueue that the main loop serves: the control queue or the event queue. */
import { drainEventfd, FdPoll, signalEventfd } from 'memfd-mmap'
import {
  CHAIN,
  CHAIN_FAULTS,
  type Chain,
  createChain,
  type DirtyLog,
  type GuestMemory,
  INFLIGHT_UNUSABLE,
  type Virtqueue,
} from 'vhost-user-protocol-ts'
import {
  dirtyLog,
  type HostRing,
  type Inflight,
  LOG_RANGE_FAULT,
  openVirtqueue,
  RING_INDEX_FAULT,
  type Takeover,
  takeOver,
} from '../iothreads/index.js'
import { inflightUnusable } from './inflight-buffers.js'

/** A request of a main loop queue: what the driver wrote, and where the answer goes. */
export interface MainRequest {
  /** What stands for it in the ring (Chain.buffer). */
  readonly head: number
  /** By what number it is noted as in flight. */
  readonly noted: number
  /** The first device-readable bytes, at most MAX_BYTES of them. */
  readonly readable: Uint8Array
  /** The device-writable buffers, none of them empty: guest address and bytes, at most MAX_BYTES in all. */
  readonly writable: readonly { readonly address: number; readonly length: number }[]
}

/** More than any control request, answer or event has: what a chain has beyond that is not kept. */
const MAX_BYTES = 64

/** How often a ring without a kick descriptor is looked at. */
const POLL_MS = 10

export class MainQueue {
  readonly #memory: GuestMemory
  readonly #virtqueue: Virtqueue
  readonly #chain: Chain
  readonly #recoveryChain: Chain
  /** Of a migration; null: nothing is logged. */
  readonly #log: DirtyLog | null
  readonly #fault: (code: string) => void
  readonly #poll: FdPoll | undefined
  readonly #timer: NodeJS.Timeout | undefined
  /** Writes beyond the log that have been told. */
  #missed = 0
  #callFd: number
  #errFd: number
  /** Who notes what is in flight; null: nobody. */
  readonly #inflight: Inflight | null
  /** How many requests the predecessor left, and how many of them were taken again. */
  readonly #takeover: Takeover | null
  readonly #recovered: number
  #resumed = 0
  /** Requests are taken: until the ring breaks, or is closed. */
  #takes = true
  #closed = false

  /**
   * @param kicked the driver may have added something
   * @param fault the ring is broken, and dead from then on; or LOG_RANGE_FAULT, and it is not
   * @throws DeviceError VUS_INFLIGHT_UNUSABLE
   */
  constructor(ring: HostRing, memory: GuestMemory, kicked: () => void, fault: (code: string) => void) {
    this.#memory = memory
    this.#log = ring.log === undefined ? null : dirtyLog(ring.log)
    const takeover = takeOver(ring)
    if (takeover === INFLIGHT_UNUSABLE) throw inflightUnusable(ring.index)
    this.#inflight = takeover?.inflight ?? null
    this.#takeover = takeover
    this.#recovered = takeover?.recovered.length ?? 0
    this.#virtqueue = openVirtqueue(ring, memory, takeover?.base, this.#log)
    this.#chain = createChain(memory, this.#virtqueue, ring.indirect)
    this.#recoveryChain = createChain(memory, takeover?.ring ?? this.#virtqueue, ring.indirect)
    this.#fault = fault
    this.#callFd = ring.callFd
    this.#errFd = ring.errFd
    if (ring.kickFd >= 0) {
      this.#poll = new FdPoll(ring.kickFd, { readable: true }, () => {
        drainEventfd(ring.kickFd)
        kicked()
      })
    } else {
      this.#timer = setInterval(kicked, POLL_MS)
    }
  }

  /** Requests that the predecessor took and did not answer, and that were not taken again yet: `take` has them first. */
  get unresumed(): number {
    return this.#takes ? this.#recovered - this.#resumed : 0
  }

  /** Where the ring stands, as GET_VRING_BASE answers it. */
  get base(): number {
    return this.#virtqueue.base
  }

  setCall(fd: number): void {
    this.#callFd = fd
  }

  setErr(fd: number): void {
    this.#errFd = fd
  }

  /** The next request, or undefined: then the driver has been asked to notify of the next one. */
  take(): MainRequest | undefined {
    if (this.unresumed > 0) return this.#retake(this.#takeover!)
    while (this.#takes) {
      const count = this.#virtqueue.available(1)
      if (count < 0) return this.#break(RING_INDEX_FAULT)
      if (count > 0) return this.#takeNew()
      if (!this.#virtqueue.enableNotifications()) return undefined
    }
    return undefined
  }

  #retake({ recovered, locate }: Takeover): MainRequest | undefined {
    const noted = recovered[this.#resumed++]!
    const request = this.#read(this.#recoveryChain, locate(noted))
    return typeof request === 'number' ? this.#break(CHAIN_FAULTS[request]!) : { ...request, noted }
  }

  #takeNew(): MainRequest | undefined {
    const virtqueue = this.#virtqueue
    const position = virtqueue.fetch()
    const request = this.#read(this.#chain, position)
    if (typeof request === 'number') {
      virtqueue.unfetch()
      return this.#break(CHAIN_FAULTS[request]!)
    }
    virtqueue.advance(request.head)
    const noted = this.#inflight?.fetch(position, request.head) ?? 0
    if (noted < 0) {
      virtqueue.unfetch()
      return this.#break(RING_INDEX_FAULT)
    }
    return { ...request, noted }
  }

  /** Reads the chain at `position`; a negative CHAIN code if it is broken. */
  #read(chain: Chain, position: number): Omit<MainRequest, 'noted'> | number {
    const readable = new Uint8Array(MAX_BYTES)
    const writable: { address: number; length: number }[] = []
    let bytes = 0
    let room = MAX_BYTES
    chain.start(position)
    let step = chain.next()
    for (; step === CHAIN.DESCRIPTOR; step = chain.next()) {
      const { address, length } = chain
      if (chain.writable) {
        const part = Math.min(length, room)
        if (part > 0) writable.push({ address, length: part })
        room -= part
      } else {
        const part = Math.min(length, MAX_BYTES - bytes)
        if (!this.#memory.read(address, readable, bytes, part)) return CHAIN.ADDRESS_RANGE
        bytes += part
      }
    }
    if (step < 0) return step
    return { head: chain.buffer, readable: readable.subarray(0, bytes), writable }
  }

  #break(code: string): undefined {
    this.#takes = false
    if (this.#errFd >= 0) signalEventfd(this.#errFd)
    this.#fault(code)
    return undefined
  }

  /**
   * Gives a request back with `answer` in its writable buffers, as much as fits: also if the ring has broken since.
   * Nothing happens once the queue is closed.
   */
  answer(request: MainRequest, answer: Uint8Array): void {
    if (this.#closed) return
    let done = 0
    for (const { address, length } of request.writable) {
      const part = Math.min(length, answer.length - done)
      if (part === 0) break
      const whole = this.#memory.write(address, answer, done, part)
      // Where it leads out of memory a part of it may have been written, or nothing.
      if (whole || this.#memory.contiguous(address) > 0) this.#log?.mark(address, part)
      if (!whole) break
      done += part
    }
    this.#inflight?.complete(request.noted)
    this.#virtqueue.push(request.head, done)
    this.#inflight?.beforePublish()
    const wanted = this.#virtqueue.publish()
    this.#inflight?.afterPublish()
    if (wanted && this.#callFd >= 0) signalEventfd(this.#callFd)
    if (this.#log !== null && this.#log.missed > this.#missed) {
      this.#missed = this.#log.missed
      this.#fault(LOG_RANGE_FAULT)
    }
  }

  /** Lets go of the kick descriptor, and takes and answers nothing any more. */
  close(): void {
    this.#takes = false
    this.#closed = true
    this.#poll?.close()
    clearInterval(this.#timer)
  }
}
