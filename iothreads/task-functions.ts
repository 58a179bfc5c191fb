/** Task management functions in one IOThread: what they end, and when they may be answered. */
import type { EventEngine } from './event-engine.js'
import type { TaskFilter } from './messages.js'
import { CANCEL, type CancelWaiter, type Request } from './request.js'
import type { RequestQueue } from './request-queue.js'
import type { WorkerController } from './worker-controller.js'

interface Waiting extends CancelWaiter {
  readonly id: number
}

type Tasks = Pick<WorkerController, 'queues' | 'delayLines'>

/**
 * Whatever the driver made available before it asked for a function is seen by the function, though it may not have been
 * fetched yet: the control queue is the main loop's, which may be faster.
 */
export class TaskFunctions {
  readonly #engine: Pick<EventEngine, 'cancel'>
  readonly #reply: (id: number, value: number) => void
  #waiting: Waiting[] = []

  /** @param reply called from `settle`, with the number of matching requests */
  constructor(engine: Pick<EventEngine, 'cancel'>, reply: (id: number, value: number) => void) {
    this.#engine = engine
    this.#reply = reply
  }

  /** Ends what matches, the first function's `reason` counting. Its reply comes after their answers. */
  cancel(id: number, tasks: Tasks, filter: TaskFilter, reason: number): void {
    const waiter: Waiting = { id, count: 0, remaining: 0 }
    const cancelled: [Request, RequestQueue][] = []
    for (const queue of tasks.queues.values()) {
      for (const request of queue.matching(filter)) {
        if (request.cancel === CANCEL.NONE) {
          request.cancel = reason
          cancelled.push([request, queue])
        }
        request.waiters ??= []
        request.waiters.push(waiter)
        waiter.count++
        waiter.remaining++
      }
    }
    for (const line of tasks.delayLines) line.endCancelled()
    for (const [request, queue] of cancelled) {
      if (!request.active) continue
      this.#engine.cancel(request.id)
      queue.execution.recall(request)
    }
    for (const queue of tasks.queues.values()) queue.sweep(filter, reason, waiter)
    this.#waiting.push(waiter)
  }

  /**
   * Waits for what matches, and has been started, to end by itself. Not for what was forwarded: that may be waiting for
   * this.
   */
  fence(id: number, tasks: Tasks, filter: TaskFilter): void {
    const waiter: Waiting = { id, count: 0, remaining: 0 }
    for (const queue of tasks.queues.values()) {
      for (const request of queue.matching(filter)) {
        if (request.ticket !== 0) continue
        request.waiters ??= []
        request.waiters.push(waiter)
        waiter.count++
        waiter.remaining++
      }
    }
    this.#waiting.push(waiter)
  }

  /** Counts what matches. The reply comes after the answers of what has ended already. */
  query(id: number, tasks: Tasks, filter: TaskFilter): void {
    let count = 0
    for (const queue of tasks.queues.values()) {
      queue.drain()
      count += queue.matching(filter).length
    }
    this.#waiting.push({ id, count, remaining: 0 })
  }

  /** Replies where nothing is left to be waited for. All answers have been published. */
  settle(): void {
    if (this.#waiting.length === 0) return
    const done = this.#waiting.filter(({ remaining }) => remaining === 0)
    if (done.length === 0) return
    this.#waiting = this.#waiting.filter(({ remaining }) => remaining > 0)
    for (const { id, count } of done) this.#reply(id, count)
  }
}
