import { close, dup, ERRNO, errnoName, type MessageSocket } from 'memfd-mmap'
import { ProtocolError } from './errors.js'

interface Pending {
  bytes: Uint8Array
  sent: number
  /** Own duplicates, so that the sender may close its descriptors at once. They go out with the first byte. */
  fds: number[]
}

/** Frames on their way out of a non-blocking socket, in order. What the kernel does not take at once waits here, up to a limit. */
export class SendQueue {
  readonly #socket: MessageSocket
  readonly #limit: number
  #pending: Pending[] = []
  #bytes = 0

  /** @param limit most bytes that may wait */
  constructor(socket: MessageSocket, limit: number) {
    this.#socket = socket
    this.#limit = limit
  }

  get empty(): boolean {
    return this.#pending.length === 0
  }

  /**
   * Sends a frame, or queues what is left of it. The bytes must not change afterwards; the descriptors may be closed.
   * @throws {ProtocolError} VUS_SEND_QUEUE_FULL, VUS_SOCKET_ERROR
   */
  push(bytes: Uint8Array, fds: readonly number[]): void {
    let sent = 0
    if (this.empty) {
      sent = this.#send(bytes, 0, fds)
      if (sent === bytes.length) return
    }
    const left = bytes.length - sent
    if (this.#bytes + left > this.#limit) {
      throw new ProtocolError('VUS_SEND_QUEUE_FULL', `${this.#bytes + left} bytes wait`)
    }
    this.#pending.push({ bytes, sent, fds: sent > 0 ? [] : duplicates(fds) })
    this.#bytes += left
  }

  /**
   * Sends what waits, as far as the kernel takes it. Afterwards `empty` tells whether anything is left.
   * @throws {ProtocolError} VUS_SOCKET_ERROR
   */
  flush(): void {
    for (let head = this.#pending[0]; head !== undefined; head = this.#pending[0]) {
      const sent = this.#send(head.bytes, head.sent, head.fds)
      if (sent === 0) return
      head.sent += sent
      this.#bytes -= sent
      closeAll(head.fds)
      if (head.sent === head.bytes.length) this.#pending.shift()
    }
  }

  /** Forgets what waits and closes its descriptors. */
  discard(): void {
    for (const pending of this.#pending) closeAll(pending.fds)
    this.#pending = []
    this.#bytes = 0
  }

  /** Bytes that the kernel took, 0 when it takes none now. */
  #send(bytes: Uint8Array, offset: number, fds: readonly number[]): number {
    for (;;) {
      const sent = this.#socket.send(bytes, offset, bytes.length - offset, fds)
      if (sent >= 0) return sent
      if (sent === -ERRNO.EAGAIN) return 0
      if (sent !== -ERRNO.EINTR) throw new ProtocolError('VUS_SOCKET_ERROR', `sendmsg: ${errnoName(-sent)}`)
    }
  }
}

function duplicates(fds: readonly number[]): number[] {
  const copies: number[] = []
  for (const fd of fds) {
    const copy = dup(fd)
    if (copy < 0) {
      closeAll(copies)
      throw new ProtocolError('VUS_SOCKET_ERROR', `dup: ${errnoName(-copy)}`)
    }
    copies.push(copy)
  }
  return copies
}

function closeAll(fds: number[]): void {
  for (const fd of fds) close(fd)
  fds.length = 0
}
