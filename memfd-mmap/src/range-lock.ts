import { ERRNO } from './errno.js'
import { declare, failure, putU64, scratch, scratchAddress, scratchWords } from './libc.js'

const fcntl = declare('fcntl', 'int', ['int', 'int', 'long'])

const F_OFD_GETLK = 36
const F_OFD_SETLK = 37

/** l_type values (fcntl(2)). */
const TYPES = { shared: 0, exclusive: 1, unlock: 2 } as const
const F_UNLCK = TYPES.unlock

/**
 * struct flock of the 64-bit ABIs: i16 type, i16 whence, i64 start, i64 length, i32 pid (0 for open file description
 * locks).
 */
const FLOCK = { TYPE: 0, WHENCE: 2, START: 8, LENGTH: 16, PID: 24, SIZE: 32 } as const

const halfWords = new Uint16Array(scratch)

function prepare(type: number, start: number, length: number): void {
  scratchWords.fill(0, 0, FLOCK.SIZE >> 2)
  halfWords[FLOCK.TYPE >> 1] = type
  putU64(scratchWords, FLOCK.START >> 2, start)
  putU64(scratchWords, FLOCK.LENGTH >> 2, length)
}

/**
 * Takes or drops a lock on bytes of a file that belongs to the open file description (F_OFD_SETLK, fcntl(2)); `length`
 * 0 reaches to the end of the file, however it grows. 0, -EAGAIN when another description holds a conflicting one,
 * -EBADF when the access mode does not suit.
 */
export function lockRange(fd: number, type: keyof typeof TYPES, start: number, length: number): number {
  prepare(TYPES[type], start, length)
  return fcntl(fd, F_OFD_SETLK, scratchAddress) < 0 ? failure() : 0
}

/**
 * Whether lockRange would succeed (F_OFD_GETLK): 0, -EAGAIN when another open file description is in the way, or
 * -errno.
 */
export function queryLock(fd: number, type: 'shared' | 'exclusive', start: number, length: number): number {
  prepare(TYPES[type], start, length)
  if (fcntl(fd, F_OFD_GETLK, scratchAddress) < 0) return failure()
  return halfWords[FLOCK.TYPE >> 1] === F_UNLCK ? 0 : -ERRNO.EAGAIN
}
