/**
 * The global counter of a queue (vhost-user.rst "Inflight I/O tracking"): numbers requests in the order in which they
 * were fetched. A u64 in two 32-bit words, the low one first.
 */
export class InflightCounter {
  // Signed halves: small integers, where a field with a double would be boxed.
  #low = 0
  #high = 0

  /** Writes the next number to `words` at `at` and the word after it. */
  stamp(words: Int32Array, at: number): void {
    const low = this.#low
    words[at] = low
    words[at + 1] = this.#high
    this.#low = (low + 1) | 0
    if (low === -1) this.#high = (this.#high + 1) | 0
  }

  /**
   * Sorts the first `count` of `entries` by their numbers, lowest first, and goes on counting after the highest. The
   * number of entry i is at word `first + stride * i`. Every number is read once: they may change meanwhile.
   */
  resume(words: Int32Array, first: number, stride: number, entries: Int32Array, count: number): void {
    const numbers = Array.from(entries.subarray(0, count), (entry) => {
      const at = first + stride * entry
      return { entry, low: words[at]! >>> 0, high: words[at + 1]! >>> 0 }
    }).sort((a, b) => a.high - b.high || a.low - b.low)
    numbers.forEach(({ entry }, i) => {
      entries[i] = entry
    })
    const last = numbers.at(-1)
    this.#low = last === undefined ? 0 : (last.low + 1) | 0
    this.#high = last === undefined ? 0 : (last.high + (this.#low === 0 ? 1 : 0)) | 0
  }
}
