import { ERRNO } from 'memfd-mmap'
import type { DelayLine } from '../delay-line.js'
import type { Request } from '../request.js'
import type { RequestTable } from '../request-table.js'
import type { Driver } from './driver.js'

/** Another driver, of whose medium nothing is changed: what SCSI has refused already ends here once more, with EROFS. */
export class ReadOnlyDriver implements Driver {
  readonly #driver: Driver

  constructor(driver: Driver) {
    this.#driver = driver
  }

  get delayLine(): DelayLine | null {
    return this.#driver.delayLine
  }

  transfer(request: Request, table: RequestTable, write: boolean): number {
    return write ? -ERRNO.EROFS : this.#driver.transfer(request, table, false)
  }

  buffer(request: Request, write: boolean, address: number, offset: number, length: number, sync: boolean): number {
    return write ? -ERRNO.EROFS : this.#driver.buffer(request, false, address, offset, length, sync)
  }

  flush(request: Request): number {
    return this.#driver.flush(request)
  }

  discard(_request: Request, _offset: number, _length: number): number {
    return -ERRNO.EROFS
  }

  zero(_request: Request, _offset: number, _length: number): number {
    return -ERRNO.EROFS
  }

  prefetch(request: Request, offset: number, length: number): number {
    return this.#driver.prefetch(request, offset, length)
  }

  extent(offset: number, length: number, data: boolean): number {
    return this.#driver.extent(offset, length, data)
  }
}
