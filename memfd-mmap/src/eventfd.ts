import { check } from './errno.js'
import { addressOf, declare, result } from './libc.js'
import { read, write } from './raw.js'

const eventfd = declare('eventfd', 'int', ['uint', 'int'])

const EFD_NONBLOCK = 0x800
const EFD_CLOEXEC = 0x80000
const EAGAIN = 11

// Two u64 of this thread: the 1 that signals, and what a drain reads.
const words = new Uint32Array(new ArrayBuffer(16))
words[0] = 1
const oneAddress = addressOf(words)
const countAddress = oneAddress + 8
const COUNT = 2

/** A new eventfd (counter), close-on-exec and non-blocking; `initial` below 2^32. */
export function createEventfd(initial = 0): number {
  return check(result(eventfd(initial, EFD_CLOEXEC | EFD_NONBLOCK)), 'eventfd')
}

/**
 * Adds 1: 0 or -errno. A counter that is full has been signalled already, so -EAGAIN counts as success. Does not
 * allocate.
 */
export function signalEventfd(fd: number): number {
  const written = write(fd, oneAddress, 8)
  return written === 8 || written === -EAGAIN ? 0 : written
}

/**
 * Takes the counter: its value (rounded above 2^53), 0 when nothing was signalled, or -errno. The descriptor must be
 * non-blocking.
 */
export function drainEventfd(fd: number): number {
  const got = read(fd, countAddress, 8)
  if (got === 8) return words[COUNT]! + words[COUNT + 1]! * 2 ** 32
  return got === -EAGAIN ? 0 : got
}
