import type { TaskFilter } from './messages.js'
import type { CancelWaiter, Request } from './request.js'

/** A task management function that is for the next `left` chains as well: they were in the ring when it came. */
interface Sweep {
  readonly filter: TaskFilter
  readonly reason: number
  readonly waiter: CancelWaiter
  left: number
}

/** Functions that go through what is in a ring and not fetched yet. */
export class Sweeps {
  #list: Sweep[] = []

  get active(): boolean {
    return this.#list.length > 0
  }

  /** @param left how many chains it is for @param waiter waits until they have been fetched, or the ring has ended */
  add(filter: TaskFilter, reason: number, waiter: CancelWaiter, left: number): void {
    waiter.remaining++
    this.#list.push({ filter, reason, waiter, left })
  }

  /** The function that ends a request, the first one that came; counted. `position`: the chain's number of those fetched now, from 1. */
  match(request: Request, position: number): number | undefined {
    const found = this.#list.find(({ filter, left }) => position <= left && matches(request, filter))
    if (found === undefined) return undefined
    found.waiter.count++
    return found.reason
  }

  /** So many chains have been fetched: those whose chains all have been are through. */
  passed(fetched: number): void {
    if (this.#list.length === 0) return
    this.#list = this.#list.filter((sweep) => {
      sweep.left -= fetched
      if (sweep.left > 0) return true
      sweep.waiter.remaining--
      return false
    })
  }

  /** No more than `left` chains will be fetched. */
  end(left: number): void {
    for (const sweep of this.#list) sweep.left = Math.min(sweep.left, left)
    this.passed(0)
  }
}

/** Whether a function is for the request. */
export function matches({ target, lun, tagLow, tagHigh }: Request, filter: TaskFilter): boolean {
  if (target !== filter.target || lun !== filter.lun) return false
  return filter.tag === null || (tagLow === filter.tag[0] && tagHigh === filter.tag[1])
}
