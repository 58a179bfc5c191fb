import { type BlockIo, FADV_WILLNEED, FALLOC_FL, RWF_DSYNC } from '../block-io.js'
import { fileExtent } from '../file-extent.js'
import type { Request } from '../request.js'
import type { RequestTable } from '../request-table.js'
import type { Driver } from './driver.js'

/** A file as a disk: data moves between the file and the guest's memory, in the kernel, without a copy of ours. */
export class FileDriver implements Driver {
  readonly delayLine = null
  readonly #io: BlockIo
  readonly #fd: number

  /** @param io the engine's I/O, or SyncIo where that is faster (tmpfs) */
  constructor(io: BlockIo, fd: number) {
    this.#io = io
    this.#fd = fd
  }

  transfer(request: Request, table: RequestTable, write: boolean): number {
    const { length, fua } = request.task
    const flags = write && fua ? RWF_DSYNC : 0
    const segments = table.segments
    const at = request.firstSegment + (write ? 0 : 2 * request.outSegments)
    // The data buffers may hold more than is to be moved.
    if (segments[at + 1]! >= length) return this.#io.transferSegment(request, write, this.#fd, segments, at, flags)
    const count = fillIovecs(segments, at, table.iovecs, request.firstIovec, length)
    const { offset } = request.task
    return this.#io.transferVector(request.id, write, this.#fd, request.iovecAddress, count, offset, flags)
  }

  buffer(request: Request, write: boolean, address: number, offset: number, length: number, sync: boolean): number {
    return this.#io.transfer(request.id, write, this.#fd, address, length, offset, write && sync ? RWF_DSYNC : 0)
  }

  flush(request: Request): number {
    return this.#io.flush(request.id, this.#fd)
  }

  discard(request: Request, offset: number, length: number): number {
    return this.#io.fallocate(request.id, this.#fd, FALLOC_FL.PUNCH_HOLE | FALLOC_FL.KEEP_SIZE, offset, length)
  }

  zero(request: Request, offset: number, length: number): number {
    return this.#io.fallocate(request.id, this.#fd, FALLOC_FL.ZERO_RANGE | FALLOC_FL.KEEP_SIZE, offset, length)
  }

  prefetch(request: Request, offset: number, length: number): number {
    return this.#io.fadvise(request.id, this.#fd, offset, length, FADV_WILLNEED)
  }

  extent(offset: number, length: number, data: boolean): number {
    return fileExtent(this.#fd, offset, length, data)
  }
}

/** Makes iovecs of the segments from index `at` on, for `length` bytes, which they hold at least; answers how many. */
function fillIovecs(segments: Float64Array, at: number, iovecs: Uint32Array, word: number, length: number): number {
  let count = 0
  while (length > 0) {
    const address = segments[at]!
    const part = Math.min(segments[at + 1]!, length)
    iovecs[word] = address
    iovecs[word + 1] = address / 2 ** 32
    iovecs[word + 2] = part
    iovecs[word + 3] = 0
    length -= part
    at += 2
    word += 4
    count++
  }
  return count
}
