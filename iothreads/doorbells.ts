import { close, createEventfd, signalEventfd } from 'memfd-mmap'
import { BELL_WORD } from './messages.js'

/** Threads with a row of their own that there can be at once. */
export const MOST_ROWS = 256

/** 32-bit words of a row: a cache line, for each is written by other threads. */
const STRIDE = 16
/** After the rows: how many of them were ever in use at once. */
const ROWS = MOST_ROWS * STRIDE
const BYTES = 4 * (ROWS + STRIDE)

/**
 * What any thread needs to wake any other one: a row of BELL_WORD for each, in memory that all of them share, with the number of
 * the thread's eventfd.
 */
export class Doorbells {
  readonly memory: SharedArrayBuffer
  readonly #words: Int32Array

  constructor(memory = new SharedArrayBuffer(BYTES)) {
    this.memory = memory
    this.#words = new Int32Array(memory)
  }

  /** Bytes before the words of a row in `memory`. */
  static offset(row: number): number {
    return 4 * STRIDE * row
  }

  /** The words of a row. */
  words(row: number): Int32Array {
    return new Int32Array(this.memory, Doorbells.offset(row), BELL_WORD.COUNT)
  }

  /** Rows that may be in use: those from 0 up to this. */
  get rows(): number {
    return Atomics.load(this.#words, ROWS)
  }

  /** For whoever opens rows. Before the row is used. */
  set rows(count: number) {
    Atomics.store(this.#words, ROWS, count)
  }

  /**
   * Rings for a reason (a bit of BELL): the thread's loop wakes up, or does not go to sleep. Whoever has rung for the same before and
   * was not heard yet wakes the thread for both.
   */
  ring(row: number, why: number): void {
    const at = STRIDE * row
    if ((Atomics.or(this.#words, at + BELL_WORD.BELL, why) & why) === 0) {
      signalEventfd(Atomics.load(this.#words, at + BELL_WORD.DOORBELL))
    }
  }
}

/** A thread's place among the doorbells. */
export interface Doorbell {
  readonly row: number
  readonly fd: number
}

/**
 * Gives rows to threads; on the main thread. A row that is given back keeps its eventfd for the next thread while any row is in use: a
 * thread may be about to ring for one that has just ended, and the number must not have become that of another file by then.
 */
export class DoorbellRows {
  readonly doorbells = new Doorbells()
  readonly #fds: number[] = []
  readonly #used: boolean[] = []

  /** @throws RangeError when MOST_ROWS are in use; SystemError where there is no eventfd */
  open(): Doorbell {
    const free = this.#used.indexOf(false)
    const row = free >= 0 ? free : this.#used.length
    if (row === MOST_ROWS) throw new RangeError(`more than ${MOST_ROWS} threads`)
    const fd = this.#fds[row] ?? createEventfd()
    this.#fds[row] = fd
    this.#used[row] = true
    this.doorbells.words(row).fill(0)
    this.doorbells.words(row)[BELL_WORD.DOORBELL] = fd
    this.doorbells.rows = this.#used.length
    return { row, fd }
  }

  /** Gives a row back; its thread has ended. */
  close({ row }: Doorbell): void {
    this.#used[row] = false
    if (this.#used.includes(true)) return
    for (const fd of this.#fds) close(fd)
    this.#fds.length = this.#used.length = 0
    this.doorbells.rows = 0
  }
}
