import { fallocate, fdatasync, posixFadvise, pread, preadv2, pwrite, pwritev2 } from 'memfd-mmap'
import type { BlockIo } from './block-io.js'
import { IovecScratch } from './iovec-scratch.js'
import type { Request } from './request.js'

/**
 * Plain system calls in the calling thread. For tmpfs, where io_uring has to hand every request to a kernel worker (34
 * times slower at queue depth 1), and where io_uring is refused.
 */
export class SyncIo implements BlockIo {
  readonly #single = new IovecScratch()

  transfer(
    _id: number,
    write: boolean,
    fd: number,
    address: number,
    length: number,
    offset: number,
    flags: number,
  ): number {
    if (flags === 0) return write ? pwrite(fd, address, length, offset) : pread(fd, address, length, offset)
    return this.transferVector(_id, write, fd, this.#single.point(address, length), 1, offset, flags)
  }

  transferSegment(
    request: Request,
    write: boolean,
    fd: number,
    segments: Float64Array,
    at: number,
    flags: number,
  ): number {
    const { offset, length } = request.task
    return this.transfer(request.id, write, fd, segments[at]!, length, offset, flags)
  }

  transferVector(
    _id: number,
    write: boolean,
    fd: number,
    iov: number,
    count: number,
    offset: number,
    flags: number,
  ): number {
    return write ? pwritev2(fd, iov, count, offset, flags) : preadv2(fd, iov, count, offset, flags)
  }

  flush(_id: number, fd: number): number {
    return fdatasync(fd)
  }

  fallocate(_id: number, fd: number, mode: number, offset: number, length: number): number {
    return fallocate(fd, mode, offset, length)
  }

  fadvise(_id: number, fd: number, offset: number, length: number, advice: number): number {
    return posixFadvise(fd, offset, length, advice)
  }

  close(): void {
    this.#single.release()
  }
}
