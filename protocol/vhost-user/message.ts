import { close } from 'memfd-mmap'
import { HEADER_FLAG } from './header.js'

/** A message as it arrived. Its bytes are valid until the handler is done; what is to be kept must be copied. */
export class Message {
  readonly request: number
  readonly flags: number
  /** The payload. */
  readonly bytes: Uint8Array
  readonly view: DataView
  readonly #fds: number[]

  constructor(request: number, flags: number, bytes: Uint8Array, fds: number[]) {
    this.request = request
    this.flags = flags
    this.bytes = bytes
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
    this.#fds = fds
  }

  get needReply(): boolean {
    return (this.flags & HEADER_FLAG.NEED_REPLY) !== 0
  }

  /** The descriptors that came along, in order. They are closed with the message unless they are taken. */
  get fds(): readonly number[] {
    return this.#fds
  }

  /** Hands descriptor number `i` to the caller, who closes it; -1 when there is none. */
  takeFd(i: number): number {
    const fd = this.#fds[i] ?? -1
    if (i < this.#fds.length) this.#fds[i] = -1
    return fd
  }

  /** Closes what nobody has taken. */
  release(): void {
    for (const fd of this.#fds) if (fd >= 0) close(fd)
    this.#fds.length = 0
  }
}
