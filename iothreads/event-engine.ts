import type { BlockIo } from './block-io.js'

/** Where an engine delivers what happened. Called from `reap` and `wait` only, in the IOThread. */
export interface EngineHandler {
  /** The I/O of request `id` ended with `result` (bytes or 0, or -errno). */
  completed(id: number, result: number): void
  /** The descriptor watched under `token` became readable. */
  readable(token: number): void
}

/** Waits for descriptors and for I/O: the one place where an IOThread blocks. */
export interface EventEngine {
  readonly name: 'io_uring' | 'epoll'
  readonly io: BlockIo
  /** A file is going to be used for I/O (once more, if it is already): the engine may prepare for it. */
  addFile(fd: number): void
  /** It is not used any more, and nothing of it is in flight: the engine has no hold on it afterwards. */
  removeFile(fd: number): void
  /** Reports each time `fd` (an eventfd) becomes readable, without reading it. Tokens are small integers. */
  watch(fd: number, token: number): void
  /** Ends a watch. The descriptor may be closed when `unwatched(token)` says so, at the latest after the next `reap`. */
  unwatch(fd: number, token: number): void
  unwatched(token: number): boolean
  /** Tries to end the I/O of request `id` early; its completion comes in any case. */
  cancel(id: number): void
  /** Starts queued I/O, and has the kernel post what has completed, without waiting. */
  submit(): void
  /** Whether `reap` would find something. */
  ready(): boolean
  /** Delivers what has happened, without waiting. The number of events. */
  reap(): number
  /** Starts queued I/O and waits until something happens, at most `nanoseconds`. */
  wait(nanoseconds: number): void
  close(): void
}
