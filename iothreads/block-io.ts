import type { Request } from './request.js'

/**
 * What a block driver asks of the kernel. Each call either ends at once, and answers its result (bytes or 0, or
 * -errno), or answers PENDING; then the result comes as the completion of request `id`.
 */
export interface BlockIo {
  /** One buffer of `length` bytes at host address `address`. `flags`: RWF_*. */
  transfer(
    id: number,
    write: boolean,
    fd: number,
    address: number,
    length: number,
    offset: number,
    flags: number,
  ): number
  /**
   * The request's READ or WRITE, from or to the one buffer whose host address `segments` has at `at`. Neither that nor the offset on the
   * medium is passed: a large number handed to a function that happens not to be inlined would have to be allocated.
   */
  transferSegment(
    request: Request,
    write: boolean,
    fd: number,
    segments: Float64Array,
    at: number,
    flags: number,
  ): number
  /** `count` struct iovecs at host address `iov`. */
  transferVector(
    id: number,
    write: boolean,
    fd: number,
    iov: number,
    count: number,
    offset: number,
    flags: number,
  ): number
  /** fdatasync. */
  flush(id: number, fd: number): number
  fallocate(id: number, fd: number, mode: number, offset: number, length: number): number
  /** posix_fadvise. */
  fadvise(id: number, fd: number, offset: number, length: number, advice: number): number
}

/** Not a result: it comes later. Below every -errno. */
export const PENDING = -0x10000

export const RWF_DSYNC = 2

/** fallocate modes (linux/falloc.h). */
export const FALLOC_FL = { KEEP_SIZE: 1, PUNCH_HOLE: 2, ZERO_RANGE: 16 } as const

/** posix_fadvise advice (linux/fadvise.h). */
export const FADV_WILLNEED = 3

/** lseek whence (linux/fs.h). */
export const SEEK = { DATA: 3, HOLE: 4 } as const
