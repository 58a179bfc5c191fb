import { memset } from 'memfd-mmap'
import { PENDING } from '../block-io.js'
import { DelayLine } from '../delay-line.js'
import type { Request } from '../request.js'
import type { RequestTable } from '../request-table.js'
import type { Driver } from './driver.js'

/** Moves no data: reads leave the guest's buffers as they are, writes vanish. For measuring everything but a disk. */
export class NullDriver implements Driver {
  readonly delayLine: DelayLine | null

  /**
   * @param delayNs how long each operation takes, 0 for none
   * @param ended called with each request whose time has come
   */
  constructor(delayNs: number, ended: (request: Request, result: number) => void) {
    this.delayLine = delayNs > 0 ? new DelayLine(delayNs, ended) : null
  }

  #end(request: Request, result: number): number {
    if (this.delayLine === null) return result
    this.delayLine.add(request, result)
    return PENDING
  }

  transfer(request: Request, _table: RequestTable, _write: boolean): number {
    return this.#end(request, request.task.length)
  }

  /** A read gives zeros: what a private buffer holds from another operation is nobody's to compare with, or to copy. */
  buffer(request: Request, write: boolean, address: number, _offset: number, length: number, _sync: boolean): number {
    if (!write) memset(address, 0, length)
    return this.#end(request, length)
  }

  flush(request: Request): number {
    return this.#end(request, 0)
  }

  discard(request: Request, _offset: number, _length: number): number {
    return this.#end(request, 0)
  }

  zero(request: Request, _offset: number, _length: number): number {
    return this.#end(request, 0)
  }

  prefetch(request: Request, _offset: number, _length: number): number {
    return this.#end(request, 0)
  }

  /** Nothing is known of it, so all of it counts as allocated. */
  extent(_offset: number, length: number, data: boolean): number {
    return data ? length : 0
  }
}
