import { check } from './errno.js'
import { declare, putU64, result, scratchAddress, scratchWords } from './libc.js'

const epollCreate1 = declare('epoll_create1', 'int', ['int'])
const epollCtl = declare('epoll_ctl', 'int', ['int', 'int', 'int', 'long'])
const epollWaitC = declare('epoll_wait', 'int', ['int', 'long', 'int', 'int'])

const EPOLL_CLOEXEC = 0x80000
const EPOLL_CTL_ADD = 1
const EPOLL_CTL_DEL = 2
const EPOLL_CTL_MOD = 3

export const EPOLLIN = 0x001
export const EPOLLOUT = 0x004
export const EPOLLERR = 0x008
export const EPOLLHUP = 0x010
export const EPOLLRDHUP = 0x2000
export const EPOLLEXCLUSIVE = 2 ** 28
export const EPOLLONESHOT = 2 ** 30
export const EPOLLET = 2 ** 31

/** struct epoll_event: u32 events, u64 data. It is packed on x86-64 only (linux/eventpoll.h EPOLL_PACKED). */
export const EPOLL_EVENT =
  process.arch === 'x64' ? ({ EVENTS: 0, DATA: 4, SIZE: 12 } as const) : ({ EVENTS: 0, DATA: 8, SIZE: 16 } as const)

/** A new epoll descriptor, close-on-exec. */
export function createEpoll(): number {
  return check(result(epollCreate1(EPOLL_CLOEXEC)), 'epoll_create1')
}

function control(epfd: number, operation: number, fd: number, events: number, data: number): number {
  scratchWords[0] = events
  putU64(scratchWords, EPOLL_EVENT.DATA >> 2, data)
  return result(epollCtl(epfd, operation, fd, scratchAddress))
}

/**
 * Watches `fd`; `data` (below 2^53) comes back with its events. 0 or -errno: -EPERM for files that cannot be polled.
 */
export function epollAdd(epfd: number, fd: number, events: number, data: number): number {
  return control(epfd, EPOLL_CTL_ADD, fd, events, data)
}

/** Changes what `fd` is watched for. 0 or -errno. */
export function epollModify(epfd: number, fd: number, events: number, data: number): number {
  return control(epfd, EPOLL_CTL_MOD, fd, events, data)
}

/** Stops watching `fd`. 0 or -errno. */
export function epollDelete(epfd: number, fd: number): number {
  return control(epfd, EPOLL_CTL_DEL, fd, 0, 0)
}

/**
 * Fills up to `max` EPOLL_EVENT at `eventsAddress`: their count, 0 after `timeoutMs` (-1: never), or -errno (-EINTR
 * among them).
 */
export function epollWait(epfd: number, eventsAddress: number, max: number, timeoutMs: number): number {
  return result(epollWaitC(epfd, eventsAddress, max, timeoutMs))
}
