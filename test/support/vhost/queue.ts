import { createEventfd, drainEventfd, FdPoll, raw, signalEventfd } from 'memfd-mmap'
import type { ChainSegment, ChainStyle, DriverAllocation, DriverMemory } from 'vhost-user-protocol-ts'
import { within } from '../deadline.js'
import { ringKind } from '../ring-kind.js'
import { addChain, createRing, type RingDriver, ringBytes } from './ring-driver.js'

interface Waiter {
  resolve: (usedLength: number) => void
  reject: (error: Error) => void
}

export interface QueueOptions {
  readonly size: number
  readonly eventIdx: boolean
  readonly indirectEntries: number
  /** The memory region that the ring lies in. */
  readonly region: number
  readonly packed?: boolean
}

/** A virtqueue of the initiator: the ring, its three eventfds, and promises for what is in flight. */
export class Queue {
  readonly index: number
  readonly driver: RingDriver
  readonly area: DriverAllocation
  readonly kickFd = createEventfd()
  readonly errFd = createEventfd()
  /** Interrupts that arrived (counts of the call eventfd). */
  interrupts = 0
  /** Notifications sent. */
  kicks = 0
  #callFd = createEventfd()
  #poll: FdPoll
  #errPoll: FdPoll
  readonly #waiting = new Map<number, Waiter>()
  readonly #heads: Int32Array
  #onInterrupt: (() => void)[] = []
  #onBroken: ((error: Error) => void)[] = []
  #broken: Error | undefined

  constructor(index: number, memory: DriverMemory, o: QueueOptions) {
    this.index = index
    const packed = o.packed ?? ringKind.packed
    this.area = memory.allocate(ringBytes(packed, o.size, o.indirectEntries), 4096, o.region)
    this.driver = createRing(packed, {
      size: o.size,
      buffer: this.area.buffer,
      byteOffset: this.area.byteOffset,
      guestAddress: this.area.address,
      eventIdx: o.eventIdx,
      indirectEntries: o.indirectEntries,
    })
    this.#heads = new Int32Array(o.size)
    this.driver.enableInterrupts()
    this.#poll = this.#watchCall()
    this.#errPoll = new FdPoll(this.errFd, { readable: true }, () => {
      if (drainEventfd(this.errFd) > 0) this.#fail(new Error(`the device reported an error on ring ${this.index}`))
    })
    this.#errPoll.unref()
  }

  get callFd(): number {
    return this.#callFd
  }

  /** Chains in flight for which somebody waits. */
  get waiting(): number {
    return this.#waiting.size
  }

  /** What broke the ring: the device wrote to the error eventfd, or lied in the used ring. */
  get broken(): Error | undefined {
    return this.#broken
  }

  /** Resolves, with the reason, when the ring breaks. */
  breaks(): Promise<Error> {
    const error = this.#broken
    if (error !== undefined) return Promise.resolve(error)
    return new Promise((resolve) => this.#onBroken.push(resolve))
  }

  /**
   * A new call eventfd to hand over, as QEMU does when a guest masks or unmasks an interrupt. The old one stays open
   * until the function returned is called (once the device has the new one).
   */
  replaceCallFd(): () => void {
    const old = this.#callFd
    this.#poll.close()
    this.#callFd = createEventfd()
    this.#poll = this.#watchCall()
    return () => {
      this.interrupts += Math.max(0, drainEventfd(old))
      raw.close(old)
      this.collect()
    }
  }

  /** Puts a chain into the ring without showing it to the device. The promise has used.len. */
  add(segments: readonly ChainSegment[], style: ChainStyle = 'direct'): { head: number; done: Promise<number> } {
    const head = addChain(this.driver, segments, style)
    const done = new Promise<number>((resolve, reject) => {
      if (this.#broken === undefined) this.#waiting.set(head, { resolve, reject })
      else reject(this.#broken)
    })
    done.catch(() => {})
    return { head, done }
  }

  /** Shows the device what was added and kicks it if it wants that. */
  publish(): void {
    if (this.driver.publish()) this.kick()
  }

  kick(): void {
    this.kicks++
    signalEventfd(this.kickFd)
  }

  /** Reaps completions that an interrupt would announce. */
  collect(): void {
    try {
      do {
        for (let n = this.driver.reap(this.#heads); n > 0; n = this.driver.reap(this.#heads)) this.#settle(n)
      } while (this.driver.enableInterrupts())
    } catch (error) {
      this.#fail(error as Error)
    }
  }

  /** Waits until nothing is in flight. */
  async idle(milliseconds: number): Promise<void> {
    const end = performance.now() + milliseconds
    while (this.driver.outstanding > 0) {
      await within(Math.max(1, end - performance.now()), `ring ${this.index} idle`, this.#interrupted())
    }
  }

  /** Leaves the interrupts to a caller who polls the ring himself: nothing reaps here any more. */
  detach(): RingDriver {
    this.#poll.close()
    this.driver.disableInterrupts()
    return this.driver
  }

  close(): void {
    this.#poll.close()
    this.#errPoll.close()
    raw.close(this.kickFd)
    raw.close(this.#callFd)
    raw.close(this.errFd)
    this.#fail(new Error(`ring ${this.index} was closed`))
  }

  #interrupted(): Promise<void> {
    return new Promise((resolve) => this.#onInterrupt.push(resolve))
  }

  #watchCall(): FdPoll {
    const fd = this.#callFd
    const poll = new FdPoll(fd, { readable: true }, () => {
      this.interrupts += Math.max(0, drainEventfd(fd))
      this.collect()
      for (const resolve of this.#onInterrupt.splice(0)) resolve()
    })
    // A test that waits has a deadline, whose timer keeps the event loop alive.
    poll.unref()
    return poll
  }

  #fail(error: Error): void {
    if (this.#broken !== undefined) return
    this.#broken = error
    for (const waiter of this.#waiting.values()) waiter.reject(error)
    this.#waiting.clear()
    for (const resolve of this.#onBroken.splice(0)) resolve(error)
  }

  #settle(count: number): void {
    for (let i = 0; i < count; i++) {
      const head = this.#heads[i]!
      const waiter = this.#waiting.get(head)
      this.#waiting.delete(head)
      const length = this.driver.usedLength[head]!
      this.driver.release(head)
      waiter?.resolve(length)
    }
  }
}
