import { ERRNO, lseek } from 'memfd-mmap'
import { SEEK } from './block-io.js'

/**
 * How many of the `length` bytes at `offset` of a file are in a hole that begins there (`data`: are allocated); 0: none, or
 * -errno. What the file system cannot tell counts as allocated, and what lies behind the end of the file as a hole. One look-up
 * of the file system's metadata, in the calling thread.
 */
export function fileExtent(fd: number, offset: number, length: number, data: boolean): number {
  const next = lseek(fd, offset, data ? SEEK.HOLE : SEEK.DATA)
  if (next >= 0) return Math.min(next - offset, length)
  switch (-next) {
    case ERRNO.ENXIO:
      return data ? 0 : length
    case ERRNO.EINVAL:
    case ERRNO.EOPNOTSUPP:
      return data ? length : 0
    default:
      return next
  }
}
