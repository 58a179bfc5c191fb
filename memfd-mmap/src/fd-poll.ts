import koffi from 'koffi'
import { createEpoll, epollAdd } from './epoll.js'
import { ERRNO, SystemError } from './errno.js'
import { addPolled, deletePolled, isPolled } from './polled.js'
import { close } from './raw.js'

type NativeHandle = ReturnType<typeof koffi.node.poll>
type NativeCallback = (status: number, events: { readable: boolean; writable: boolean }) => void

// koffi hands (status, events) over, its typings say otherwise.
const poll = koffi.node.poll as unknown as (fd: number, interest: object, callback: NativeCallback) => NativeHandle

// libuv's handles are held weakly by koffi: one that is not referenced stops polling at the next garbage collection.
const alive = new Set<NativeHandle>()

export interface PollInterest {
  readable?: boolean
  writable?: boolean
}

/**
 * `error` is 0, or -errno as libuv saw it; readable and writable are then what was asked for, so that the next call
 * finds the true errno.
 */
export type PollCallback = (readable: boolean, writable: boolean, error: number) => void

/** What epoll would answer for `fd`. libuv aborts the process where this is not 0. */
function probe(fd: number): number {
  const epfd = createEpoll()
  const status = epollAdd(epfd, fd, 0, 0)
  close(epfd)
  return status
}

/**
 * Watches a descriptor on the event loop of this thread, level-triggered. The descriptor becomes O_NONBLOCK (for every
 * process that shares it), and must stay open until close(). One FdPoll per descriptor, and none for a descriptor that
 * node:net or another part of Node watches (libuv aborts). After close() no callback runs. Ticks and promise jobs that
 * a callback queues run when the loop has made its round of callbacks; what it throws becomes an uncaught exception.
 * Throws SystemError: EPERM for files that cannot be polled, EEXIST, EBADF.
 */
export class FdPoll {
  readonly fd: number
  readonly #callback: PollCallback
  readonly #handle: NativeHandle
  readonly #native: NativeCallback = (status, events) => this.#onPoll(status, events)
  #interest: PollInterest
  #running = true
  #closed = false

  constructor(fd: number, interest: PollInterest, callback: PollCallback) {
    if (isPolled(fd)) throw new SystemError('poll', ERRNO.EEXIST, `descriptor ${fd} is polled already`)
    const status = probe(fd)
    if (status < 0) throw new SystemError('poll', status, `descriptor ${fd}`)
    this.fd = fd
    this.#callback = callback
    this.#interest = { readable: interest.readable === true, writable: interest.writable === true }
    this.#handle = poll(fd, this.#interest, this.#native)
    alive.add(this.#handle)
    addPolled(fd)
  }

  get closed(): boolean {
    return this.#closed
  }

  /** Changes what is watched for; nothing at all pauses it. */
  set(interest: PollInterest): void {
    this.#check()
    this.#interest = { readable: interest.readable === true, writable: interest.writable === true }
    this.#start()
  }

  /** Keeps the event loop alive (the default). */
  ref(): void {
    this.#check()
    this.#handle.ref()
  }

  /** Lets the process end although this is open. */
  unref(): void {
    this.#check()
    this.#handle.unref()
  }

  /** Stops for good; to be called before the descriptor is closed. Idempotent. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    alive.delete(this.#handle)
    deletePolled(this.fd)
    this.#handle.close()
  }

  #check(): void {
    if (this.#closed) throw new SystemError('poll', ERRNO.EBADF, `the poll of descriptor ${this.fd} is closed`)
  }

  #start(): void {
    this.#handle.start(this.#interest, this.#native as never)
    this.#running = true
  }

  #onPoll(status: number, events: { readable: boolean; writable: boolean }): void {
    if (this.#closed) return
    try {
      if (status >= 0) {
        this.#callback(events.readable, events.writable, 0)
        return
      }
      // EPOLLERR: libuv has stopped the handle. Started again it stays level-triggered.
      this.#running = false
      this.#callback(this.#interest.readable === true, this.#interest.writable === true, status)
      if (!this.#closed && !this.#running) this.#start()
    } catch (error) {
      // Left to koffi it would surface in an unrelated later call. Thrown again here it is an uncaught exception.
      setImmediate(() => {
        throw error
      })
    }
  }
}
