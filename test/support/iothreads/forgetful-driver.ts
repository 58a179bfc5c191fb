import { addressOf, memcpy } from 'memfd-mmap'
import { PENDING } from '../../../iothreads/block-io.js'
import type { Driver } from '../../../iothreads/drivers/driver.js'
import type { Request } from '../../../iothreads/request.js'
import type { RequestTable } from '../../../iothreads/request-table.js'

const SECTOR = 512

interface Operation {
  readonly request: Request
  readonly result: number
  /** Carries it out, in the cache. */
  readonly apply: () => void
  /** Sectors that are durable when it has ended; 'all': those that were in the cache when it began. */
  readonly sync: readonly [first: number, end: number] | 'all' | null
  /** For 'all': how many contents each sector had had by then. */
  readonly seen: Map<number, number> | null
}

/** What a sector has held since it was last made durable, oldest first, and how many contents it had had before. */
interface History {
  before: number
  readonly contents: Uint8Array[]
}

/**
 * A disk with a volatile cache: nothing ends at once, and what was not made durable may be gone when the power is cut, sector by
 * sector, in any order.
 */
export class ForgetfulDriver implements Driver {
  readonly delayLine = null
  readonly cache: Uint8Array<ArrayBuffer>
  /** By sector; absent, or without contents: durable is what the cache has. */
  readonly #histories = new Map<number, History>()
  readonly #address: number
  readonly pending: Operation[] = []
  /** Says that everything is durable, and does nothing for it. */
  lies = false

  constructor(size: number) {
    this.cache = new Uint8Array(size)
    this.#address = addressOf(this.cache)
  }

  /** Ends one of the operations; its request and result are for the queue. */
  end(index: number): { request: Request; result: number } {
    const [operation] = this.pending.splice(index, 1)
    const { request, result, apply, sync, seen } = operation!
    apply()
    if (this.lies || sync === null) return { request, result }
    if (sync === 'all') for (const [sector, count] of seen!) this.#settle(sector, count)
    else for (let sector = sync[0]; sector < sync[1]; sector++) this.#settle(sector, Number.POSITIVE_INFINITY)
    return { request, result }
  }

  /** What the medium holds after the power was cut: of each sector the last durable content or any later one. */
  cut(random: () => number): Uint8Array {
    // What was under way may have got anywhere.
    for (const { apply } of this.pending) if (random() < 0.5) apply()
    const medium = this.cache.slice()
    for (const [sector, { contents }] of this.#histories) {
      const versions = [...contents, this.#sector(sector)]
      medium.set(versions[Math.floor(random() * versions.length)]!, sector * SECTOR)
    }
    return medium
  }

  #sector(sector: number): Uint8Array {
    return this.cache.slice(sector * SECTOR, (sector + 1) * SECTOR)
  }

  /** The first `count` contents that a sector has ever had are older than what is durable now. */
  #settle(sector: number, count: number): void {
    const history = this.#histories.get(sector)
    if (history === undefined) return
    const gone = Math.max(0, Math.min(count - history.before, history.contents.length))
    history.contents.splice(0, gone)
    history.before += gone
  }

  /** Before sectors change in the cache. */
  #remember(offset: number, length: number): void {
    for (let sector = offset / SECTOR; sector < (offset + length) / SECTOR; sector++) {
      const history = this.#histories.get(sector) ?? { before: 0, contents: [] }
      history.contents.push(this.#sector(sector))
      this.#histories.set(sector, history)
    }
  }

  #later(request: Request, result: number, apply: () => void, sync: Operation['sync'] = null): number {
    const seen =
      sync === 'all'
        ? new Map([...this.#histories].map(([sector, { before, contents }]) => [sector, before + contents.length]))
        : null
    this.pending.push({ request, result, apply, sync, seen })
    return PENDING
  }

  #move(write: boolean, address: number, offset: number, length: number): void {
    if (write) memcpy(this.#address + offset, address, length)
    else memcpy(address, this.#address + offset, length)
  }

  transfer(request: Request, table: RequestTable, write: boolean): number {
    const { offset, length, fua } = request.task
    const apply = (): void => {
      if (write) this.#remember(offset, length)
      let at = request.firstSegment + (write ? 0 : 2 * request.outSegments)
      for (let done = 0; done < length; at += 2) {
        const part = Math.min(table.segments[at + 1]!, length - done)
        this.#move(write, table.segments[at]!, offset + done, part)
        done += part
      }
    }
    return this.#later(request, length, apply, write && fua ? [offset / SECTOR, (offset + length) / SECTOR] : null)
  }

  buffer(request: Request, write: boolean, address: number, offset: number, length: number, sync: boolean): number {
    const apply = (): void => {
      if (write) this.#remember(offset, length)
      this.#move(write, address, offset, length)
    }
    return this.#later(request, length, apply, write && sync ? [offset / SECTOR, (offset + length) / SECTOR] : null)
  }

  flush(request: Request): number {
    return this.#later(request, 0, () => {}, 'all')
  }

  discard(request: Request, offset: number, length: number): number {
    return this.zero(request, offset, length)
  }

  zero(request: Request, offset: number, length: number): number {
    const apply = (): void => {
      this.#remember(offset, length)
      this.cache.fill(0, offset, offset + length)
    }
    return this.#later(request, 0, apply)
  }

  prefetch(request: Request): number {
    return this.#later(request, 0, () => {})
  }

  extent(_offset: number, length: number, data: boolean): number {
    return data ? length : 0
  }
}
