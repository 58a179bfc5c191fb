/** Bytes of guest memory that one bit of the log stands for (vhost-user.rst "Migration", VHOST_LOG_PAGE). */
export const LOG_PAGE = 0x1000

const PAGES_PER_WORD = 32

/**
 * The dirty log of a live migration (vhost-user.rst "Migration"): a bit for each page of guest memory, byte page / 8,
 * bit page % 8, which the front end collects and clears while the back end sets it. Any number of threads may have one
 * over the same memory.
 *
 * `mark` comes after the write that it reports: a page that the front end copies between the two has the write or gets
 * copied again, but marked first it could be copied, without the write, for the last time.
 *
 * There is no look at the bit before it is set, though it often is set already. A processor may load before an earlier
 * store of its own is visible, x86 too: the look would find the bit, the front end would clear it and copy the page,
 * and only then would the write arrive. It would take a full barrier between, which costs what Atomics.or costs.
 * Instead the pages of a range that have a word in common are marked at once.
 */
export class DirtyLog {
  /** Pages of the log; what is beyond is not logged. */
  readonly pages: number
  /** Ranges, or parts of ranges, that lay beyond the log. */
  missed = 0
  readonly #words: Int32Array

  /** @param buffer the log from its first byte. A whole number of 32-bit words counts */
  constructor(buffer: ArrayBufferLike) {
    const words = Math.floor(buffer.byteLength / 4)
    this.#words = new Int32Array(buffer, 0, words)
    this.pages = words * PAGES_PER_WORD
  }

  /**
   * Reports that guest memory [address, address + length) was written. Addresses and their sums below 2^53.
   *
   * @returns false if some of it is beyond the log, which `missed` counts
   */
  mark(address: number, length: number): boolean {
    if (length <= 0) return true
    const first = Math.floor(address / LOG_PAGE)
    let last = Math.floor((address + length - 1) / LOG_PAGE)
    const within = last < this.pages
    if (!within) {
      this.missed++
      last = this.pages - 1
      if (first > last) return false
    }
    // Below the size of the view both are small integers.
    let word = Math.floor(first / PAGES_PER_WORD)
    const end = Math.floor(last / PAGES_PER_WORD)
    let mask = -1 << (first % PAGES_PER_WORD)
    for (; word < end; word++) {
      Atomics.or(this.#words, word, mask)
      mask = -1
    }
    Atomics.or(this.#words, word, mask & (-1 >>> (PAGES_PER_WORD - 1 - (last % PAGES_PER_WORD))))
    return within
  }
}

/** A piece of guest memory that is reported as a whole whenever something in it was written, such as a used ring. */
export class LoggedRange {
  readonly #log: DirtyLog
  readonly #address: number
  readonly #length: number

  /** @param address guest address @param length bytes */
  constructor(log: DirtyLog, address: number, length: number) {
    this.#log = log
    this.#address = address
    this.#length = length
  }

  mark(): void {
    this.#log.mark(this.#address, this.#length)
  }
}
