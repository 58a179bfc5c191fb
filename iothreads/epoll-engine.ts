import {
  close,
  createEpoll,
  EPOLL_EVENT,
  EPOLLET,
  EPOLLIN,
  epollAdd,
  epollDelete,
  epollWait,
  Mapping,
  SystemError,
} from 'memfd-mmap'
import type { EngineHandler, EventEngine } from './event-engine.js'
import { SyncIo } from './sync-io.js'

const MAX_EVENTS = 256

/**
 * The event loop where io_uring is refused (sysctl kernel.io_uring_disabled, a seccomp filter): epoll for the
 * descriptors, plain system calls for the I/O. One I/O at a time in each IOThread, all else the same.
 */
export class EpollEngine implements EventEngine {
  readonly name = 'epoll'
  readonly io = new SyncIo()
  readonly #epoll: number
  readonly #events: Mapping
  readonly #view: DataView
  readonly #handler: EngineHandler
  readonly #watched: boolean[] = []

  constructor(handler: EngineHandler) {
    this.#handler = handler
    this.#epoll = createEpoll()
    this.#events = Mapping.anonymous(MAX_EVENTS * EPOLL_EVENT.SIZE)
    this.#view = new DataView(this.#events.view())
  }

  watch(fd: number, token: number): void {
    // Edge-triggered: each write to an eventfd is reported once, and nobody needs to read it.
    const result = epollAdd(this.#epoll, fd, EPOLLIN | EPOLLET, token)
    if (result < 0) throw new SystemError('epoll_ctl', -result)
    this.#watched[token] = true
  }

  unwatch(fd: number, token: number): void {
    epollDelete(this.#epoll, fd)
    this.#watched[token] = false
  }

  unwatched(token: number): boolean {
    return !this.#watched[token]
  }

  addFile(_fd: number): void {}

  removeFile(_fd: number): void {}

  cancel(_id: number): void {}

  submit(): void {}

  /** Kicks and the doorbell are seen in memory while polling; nothing else comes. */
  ready(): boolean {
    return false
  }

  reap(): number {
    return this.#collect(0)
  }

  wait(nanoseconds: number): void {
    this.#collect(Math.ceil(nanoseconds / 1e6))
  }

  #collect(milliseconds: number): number {
    const count = epollWait(this.#epoll, this.#events.address, MAX_EVENTS, milliseconds)
    for (let i = 0; i < count; i++) {
      const token = this.#view.getUint32(i * EPOLL_EVENT.SIZE + EPOLL_EVENT.DATA, true)
      if (this.#watched[token]) this.#handler.readable(token)
    }
    return Math.max(count, 0)
  }

  close(): void {
    close(this.#epoll)
    this.#events.unmap()
    this.io.close()
  }
}
