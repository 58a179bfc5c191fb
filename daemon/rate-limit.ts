/**
 * Keeps lines that a guest or a front end can cause from flooding the log: a bucket of `burst` lines that refills at one per
 * `intervalMs`, with the number of lines that were held back.
 */
export class RateLimit {
  readonly #burst: number
  readonly #intervalMs: number
  readonly #now: () => number
  #tokens: number
  #refilledAt: number
  #suppressed = 0

  constructor(burst = 10, intervalMs = 1000, now: () => number = () => performance.now()) {
    this.#burst = burst
    this.#intervalMs = intervalMs
    this.#now = now
    this.#tokens = burst
    this.#refilledAt = now()
  }

  /**
   * Runs `write` if a line may be written now; `suppressed` is how many were not since the last one. Returns whether
   * it ran.
   */
  run(write: (suppressed: number) => void): boolean {
    this.#refill()
    if (this.#tokens === 0) {
      this.#suppressed++
      return false
    }
    this.#tokens--
    const suppressed = this.#suppressed
    this.#suppressed = 0
    write(suppressed)
    return true
  }

  #refill(): void {
    const gained = Math.floor((this.#now() - this.#refilledAt) / this.#intervalMs)
    if (gained <= 0) return
    this.#tokens = Math.min(this.#burst, this.#tokens + gained)
    this.#refilledAt += gained * this.#intervalMs
  }
}
