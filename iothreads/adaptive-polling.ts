/** First polling time, ns. */
const START_NS = 4000

/**
 * How long to poll before sleeping, learnt from how long waits turn out to be (as QEMU's AioContext does): a wait that a
 * longer poll within the limit would have caught makes it grow, one beyond the limit makes it shrink.
 */
export class AdaptivePolling {
  /** How long to poll now, ns. */
  time = 0
  readonly #max: number
  readonly #grow: number
  readonly #shrink: number

  /** @param max ns, 0: never poll @param grow factor, 0: 2 @param shrink divisor, 0: back to no polling */
  constructor(max: number, grow: number, shrink: number) {
    this.#max = max
    this.#grow = grow === 0 ? 2 : grow
    this.#shrink = shrink
  }

  /** What is polled for has come after `nanoseconds` in all, polled and slept. */
  waited(nanoseconds: number): void {
    if (this.#max === 0 || nanoseconds <= this.time) return
    if (nanoseconds > this.#max) {
      this.time = this.#shrink === 0 ? 0 : Math.floor(this.time / this.#shrink)
    } else if (this.time < this.#max) {
      this.time = this.time === 0 ? Math.min(START_NS, this.#max) : Math.min(this.time * this.#grow, this.#max)
    }
  }

  /** It has not come in `nanoseconds`, and the wait is over for another reason. */
  waitedInVain(nanoseconds: number): void {
    if (nanoseconds > this.#max) this.waited(nanoseconds)
  }
}
