/** A virtqueue that the main loop serves: the control queue or the event queue. */
import { drainEventfd, FdPoll, signalEventfd, viewMemory } from 'memfd-mmap'
import {
  availBytes,
  CHAIN,
  CHAIN_FAULTS,
  DescriptorChain,
  type DirtyLog,
  descBytes,
  type GuestMemory,
  INFLIGHT_UNUSABLE,
  SplitVirtqueue,
  usedBytes,
} from 'vhost-user-protocol-ts'
import { dirtyLog, type HostRing, type Inflight, LOG_RANGE_FAULT, takeOver, usedRingLog } from '../iothreads/index.js'
import { inflightUnusable } from './inflight-unusable.js'

/** A request of a main loop queue: what the driver wrote, and where the answer goes. */
export interface MainRequest {
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
  readonly #virtqueue: SplitVirtqueue
  readonly #chain: DescriptorChain
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
  /** The predecessor's requests, and how many of them were taken again. */
  readonly #recovered: Int32Array
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
    this.#recovered = takeover?.recovered ?? new Int32Array(0)
    this.#virtqueue = new SplitVirtqueue({
      size: ring.size,
      desc: viewMemory(ring.desc, descBytes(ring.size)),
      avail: viewMemory(ring.avail, availBytes(ring.size)),
      used: viewMemory(ring.used, usedBytes(ring.size)),
      base: takeover?.base ?? ring.base,
      eventIdx: ring.eventIdx,
      usedLog: this.#log && usedRingLog(this.#log, ring),
    })
    this.#chain = new DescriptorChain(memory, this.#virtqueue.desc, ring.size, ring.indirect)
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
    return this.#takes ? this.#recovered.length - this.#resumed : 0
  }

  get nextAvailable(): number {
    return this.#virtqueue.nextAvailable
  }

  setCall(fd: number): void {
    this.#callFd = fd
  }

  setErr(fd: number): void {
    this.#errFd = fd
  }

  /** The next request, or undefined: then the driver has been asked to notify of the next one. */
  take(): MainRequest | undefined {
    if (this.unresumed > 0) return this.#read(this.#recovered[this.#resumed++]!, true)
    while (this.#takes) {
      const count = this.#virtqueue.available()
      if (count < 0) return this.#break('VUS_RING_AVAILABLE_INDEX')
      if (count > 0) return this.#read(this.#virtqueue.fetch(), false)
      if (!this.#virtqueue.enableNotifications()) return undefined
    }
    return undefined
  }

  #read(head: number, again: boolean): MainRequest | undefined {
    const readable = new Uint8Array(MAX_BYTES)
    const writable: { address: number; length: number }[] = []
    let bytes = 0
    let room = MAX_BYTES
    this.#chain.start(head)
    let step = this.#chain.next()
    for (; step === CHAIN.DESCRIPTOR; step = this.#chain.next()) {
      const { address, length } = this.#chain
      if (this.#chain.writable) {
        const part = Math.min(length, room)
        if (part > 0) writable.push({ address, length: part })
        room -= part
      } else {
        const part = Math.min(length, MAX_BYTES - bytes)
        if (!this.#memory.read(address, readable, bytes, part)) return this.#refetch(CHAIN.ADDRESS_RANGE, again)
        bytes += part
      }
    }
    if (step < 0) return this.#refetch(step, again)
    const noted = again ? head : (this.#inflight?.fetch(head, head) ?? head)
    return { head, noted, readable: readable.subarray(0, bytes), writable }
  }

  #refetch(step: number, again: boolean): undefined {
    if (!again) this.#virtqueue.unfetch()
    return this.#break(CHAIN_FAULTS[step]!)
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
      this.#log?.mark(address, part)
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
