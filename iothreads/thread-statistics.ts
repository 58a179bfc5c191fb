/**
 * Counters of one IOThread, in shared memory: written by that thread alone, read by the main thread (as QueueStatistics).
 */
export const THREAD_FIELD = {
  /** Requests fetched, from whichever queue. */
  REQUESTS: 0,
  /** Times that it went to sleep for want of work. */
  SLEEPS: 1,
  /** Times that it polled before that, and those in which that found work. */
  POLLS: 2,
  POLL_HITS: 3,
  COUNT: 4,
} as const

export class ThreadStatistics {
  readonly memory: SharedArrayBuffer
  readonly #values: Float64Array

  constructor(memory = new SharedArrayBuffer(THREAD_FIELD.COUNT * Float64Array.BYTES_PER_ELEMENT)) {
    this.memory = memory
    this.#values = new Float64Array(memory)
  }

  /** @param field THREAD_FIELD */
  add(field: number, count = 1): void {
    this.#values[field] = this.#values[field]! + count
  }

  read(field: number): number {
    return this.#values[field]!
  }
}
