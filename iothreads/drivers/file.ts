import { type BlockIo, FALLOC_FL, RWF_DSYNC } from '../block-io.js'
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

  transfer(
    request: Request,
    table: RequestTable,
    write: boolean,
    offset: number,
    length: number,
    sync: boolean,
  ): number {
    const flags = write && sync ? RWF_DSYNC : 0
    const first = write ? 0 : request.outSegments
    const count = write ? request.outSegments : request.inSegments
    const words = table.words
    const at = request.iovWord + 4 * first
    // The last data buffer may be longer than the transfer: a single one is cut here, a vector by `trim`.
    if (words[at + 2]! >= length) {
      const address = words[at]! + words[at + 1]! * 2 ** 32
      return this.#io.transfer(request.id, write, this.#fd, address, length, offset, flags)
    }
    const used = trim(words, at, count, length)
    return this.#io.transferVector(request.id, write, this.#fd, request.iovAddress + 16 * first, used, offset, flags)
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
}

/** Cuts the iovecs from word `at` on to `length` bytes in all, which they hold at least; answers how many are left. */
function trim(words: Uint32Array, at: number, count: number, length: number): number {
  for (let i = 0; i < count; i++) {
    const part = words[at + 4 * i + 2]!
    if (part >= length) {
      words[at + 4 * i + 2] = length
      return i + 1
    }
    length -= part
  }
  return count
}
