import { clockMonotonicNs, ERRNO } from 'memfd-mmap'
import { CANCEL, type Request } from './request.js'

/** Holds requests back for a fixed time each, so first in, first out. Grows to the most that were ever held. */
export class DelayLine {
  readonly #delay: number
  readonly #ended: (request: Request, result: number) => void
  #requests: (Request | null)[] = new Array(64).fill(null)
  #results = new Float64Array(64)
  #deadlines = new Float64Array(64)
  #first = 0
  #count = 0

  /** @param delay ns */
  constructor(delay: number, ended: (request: Request, result: number) => void) {
    this.#delay = delay
    this.#ended = ended
  }

  add(request: Request, result: number): void {
    if (this.#count === this.#requests.length) this.#grow()
    const at = (this.#first + this.#count) & (this.#requests.length - 1)
    this.#requests[at] = request
    this.#results[at] = result
    this.#deadlines[at] = clockMonotonicNs() + this.#delay
    this.#count++
  }

  /** When the first one is due (ns), or Infinity. */
  get deadline(): number {
    return this.#count > 0 ? this.#deadlines[this.#first]! : Number.POSITIVE_INFINITY
  }

  /** Ends what is due at `now`. */
  poll(now: number): void {
    while (this.#count > 0) {
      const at = this.#first
      if (this.#deadlines[at]! > now) return
      const request = this.#requests[at]!
      this.#requests[at] = null
      this.#first = (at + 1) & (this.#requests.length - 1)
      this.#count--
      this.#ended(request, this.#results[at]!)
    }
  }

  /** Ends what was cancelled, with -ECANCELED, before its time: here nothing is under way that cannot be taken back. */
  endCancelled(): void {
    const requests = this.#requests
    const mask = requests.length - 1
    const cancelled: Request[] = []
    let kept = 0
    for (let i = 0; i < this.#count; i++) {
      const from = (this.#first + i) & mask
      const request = requests[from]!
      if (request.cancel !== CANCEL.NONE) {
        cancelled.push(request)
        continue
      }
      const to = (this.#first + kept++) & mask
      requests[to] = request
      this.#results[to] = this.#results[from]!
      this.#deadlines[to] = this.#deadlines[from]!
    }
    for (let i = kept; i < this.#count; i++) requests[(this.#first + i) & mask] = null
    this.#count = kept
    for (const request of cancelled) this.#ended(request, -ERRNO.ECANCELED)
  }

  #grow(): void {
    const size = this.#requests.length
    const from = (i: number): number => (this.#first + i) & (size - 1)
    this.#requests = Array.from({ length: 2 * size }, (_, i) => (i < size ? this.#requests[from(i)]! : null))
    this.#results = Float64Array.from({ length: 2 * size }, (_, i) => (i < size ? this.#results[from(i)]! : 0))
    this.#deadlines = Float64Array.from({ length: 2 * size }, (_, i) => (i < size ? this.#deadlines[from(i)]! : 0))
    this.#first = 0
  }
}
