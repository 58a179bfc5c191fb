import { readlinkSync } from 'node:fs'
import { fcntl } from 'memfd-mmap'
import { RefusedError } from './errors.js'

const F_GETFL = 3
const F_SETFL = 4
const O_NONBLOCK = 0x800

/**
 * Makes sure that a descriptor from the front end can be signalled and drained without ever blocking a thread: it must be an
 * eventfd, and becomes O_NONBLOCK (the front end's copy with it; QEMU's are so already).
 * @throws {RefusedError} VUS_NOT_AN_EVENTFD
 */
export function requireEventfd(fd: number): void {
  let target: string
  try {
    target = readlinkSync(`/proc/self/fd/${fd}`)
  } catch (error) {
    throw new RefusedError('VUS_NOT_AN_EVENTFD', String(error))
  }
  if (target !== 'anon_inode:[eventfd]') throw new RefusedError('VUS_NOT_AN_EVENTFD', target)
  const flags = fcntl(fd, F_GETFL, 0)
  if ((flags & O_NONBLOCK) === 0) fcntl(fd, F_SETFL, flags | O_NONBLOCK)
}
