import { close, connectUnix, ERRNO, errnoName, FdPoll, MessageSocket, shutdownSocket } from 'memfd-mmap'
import { decodeHeader, HEADER } from 'vhost-user-protocol-ts'
import { within } from '../deadline.js'
import { PATIENCE } from './fuzz-bed.js'

/** A front end's end of a connection, without any idea of what it sends. Counts replies; what is in them does not matter. */
export class Wire {
  /** Whether the other end has closed the connection. */
  ended = false
  readonly #fd: number
  readonly #socket: MessageSocket
  readonly #poll: FdPoll
  readonly #buffer = new Uint8Array(4096)
  readonly #view = new DataView(this.#buffer.buffer)
  readonly #replies = new Map<number, number>()
  #filled = 0
  #closed = false
  #wake: () => void = () => {}

  constructor(path: string) {
    this.#fd = connectUnix(path)
    this.#socket = new MessageSocket(this.#fd)
    this.#poll = new FdPoll(this.#fd, { readable: true }, () => {
      this.#read()
      this.#wake()
    })
  }

  /** Replies to a request so far. */
  replies(request: number): number {
    return this.#replies.get(request) ?? 0
  }

  /** Stops reading, or goes on. */
  set deaf(deaf: boolean) {
    this.#poll.set({ readable: !deaf })
  }

  /** Sends bytes, the descriptors with the first of them. False: the connection is over. */
  async send(bytes: Uint8Array, fds: readonly number[] = []): Promise<boolean> {
    let sent = 0
    while (sent < bytes.length) {
      if (this.ended) return false
      const done = this.#socket.send(bytes, sent, bytes.length - sent, sent === 0 ? fds : undefined)
      if (done > 0) sent += done
      else if (done === -ERRNO.EPIPE || done === -ERRNO.ECONNRESET) return false
      else if (done === -ERRNO.EAGAIN) await this.#writable()
      else throw new Error(`sendmsg: ${errnoName(-done)}`)
    }
    return true
  }

  /** Sends bytes if there is room for all of them. */
  offer(bytes: Uint8Array): boolean {
    return this.#socket.send(bytes, 0, bytes.length) === bytes.length
  }

  #writable(): Promise<void> {
    this.#poll.set({ readable: true, writable: true })
    return this.#woken(() => {
      this.#poll.set({ readable: true })
      return true
    })
  }

  /** Waits for a condition, or the end. */
  async until(what: string, reached: () => boolean): Promise<void> {
    while (!(this.ended || reached()))
      await within(
        PATIENCE,
        what,
        this.#woken(() => true),
      )
  }

  #woken(then: () => boolean): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = () => {
        if (then()) resolve()
      }
    })
  }

  #read(): void {
    const fds: number[] = []
    for (;;) {
      const got = this.#socket.receive(this.#buffer, this.#filled, this.#buffer.length - this.#filled, fds)
      for (const fd of fds.splice(0)) close(fd)
      if (got === -ERRNO.EAGAIN) return
      if (got <= 0) {
        this.ended = true
        this.#poll.close()
        return
      }
      this.#filled += got
      this.#take()
    }
  }

  #take(): void {
    let at = 0
    while (this.#filled - at >= HEADER.LENGTH) {
      const { request, size } = decodeHeader(this.#view, at)
      if (size > 4000) throw new Error(`a reply to request ${request} of ${size} bytes`)
      if (this.#filled - at < HEADER.LENGTH + size) break
      this.#replies.set(request, this.replies(request) + 1)
      at += HEADER.LENGTH + size
    }
    this.#buffer.copyWithin(0, at, this.#filled)
    this.#filled -= at
  }

  /** Tells the other end that nothing more comes, and waits until it is gone. */
  async finish(): Promise<void> {
    shutdownSocket(this.#fd)
    await this.until('the end of the connection', () => false)
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#poll.close()
    close(this.#fd)
  }
}
