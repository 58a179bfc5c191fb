import { fallocate, memcpy } from 'memfd-mmap'
import { FALLOC_FL } from '../block-io.js'
import { fileExtent } from '../file-extent.js'
import type { Request } from '../request.js'
import type { RequestTable } from '../request-table.js'
import { zeroRun } from '../zero-run.js'
import type { Driver } from './driver.js'

/** A sparse memfd as a disk: copies between its mapping and the guest's memory. Its content ends with the process. */
export class MemoryDriver implements Driver {
  readonly delayLine = null
  readonly #fd: number
  readonly #address: number

  /** @param address where the whole memfd is mapped in this process */
  constructor(fd: number, address: number) {
    this.#fd = fd
    this.#address = address
  }

  transfer(request: Request, table: RequestTable, write: boolean): number {
    const { offset, length } = request.task
    const segments = table.segments
    let at = request.firstSegment + (write ? 0 : 2 * request.outSegments)
    let medium = this.#address + offset
    let left = length
    while (left > 0) {
      const guest = segments[at]!
      const part = Math.min(segments[at + 1]!, left)
      if (write) memcpy(medium, guest, part)
      else memcpy(guest, medium, part)
      medium += part
      left -= part
      at += 2
    }
    return length
  }

  buffer(_request: Request, write: boolean, address: number, offset: number, length: number, _sync: boolean): number {
    if (write) memcpy(this.#address + offset, address, length)
    else memcpy(address, this.#address + offset, length)
    return length
  }

  flush(_request: Request): number {
    return 0
  }

  discard(_request: Request, offset: number, length: number): number {
    return fallocate(this.#fd, FALLOC_FL.PUNCH_HOLE | FALLOC_FL.KEEP_SIZE, offset, length)
  }

  zero(request: Request, offset: number, length: number): number {
    // A hole of a memfd reads as zeros and is filled when written: nothing else would differ.
    return this.discard(request, offset, length)
  }

  prefetch(_request: Request, _offset: number, _length: number): number {
    return 0
  }

  /**
   * To read a hole by way of the mapping fills it: what is allocated and all zeros is a hole still. Looks no further than the end of
   * what is allocated, since to look fills holes as well.
   */
  extent(offset: number, length: number, data: boolean): number {
    const found = fileExtent(this.#fd, offset, length, data)
    if (data || found !== 0) return found
    const allocated = fileExtent(this.#fd, offset, length, true)
    return allocated < 0 ? allocated : zeroRun(this.#address, offset, allocated)
  }
}
