import { close, ERRNO, errnoName, FdPoll, MessageSocket } from 'memfd-mmap'
import { ProtocolError } from './errors.js'
import { type Direction, decodeHeader, encodeHeader, HEADER, HEADER_FLAG, headerFault } from './header.js'
import { Message } from './message.js'
import { MAX_REQUEST_FDS, MAX_REQUEST_PAYLOAD } from './requests.js'
import { SendQueue } from './send-queue.js'

/** Most bytes that may wait for a peer that does not read. */
const SEND_LIMIT = 256 * 1024

const NO_BYTES = new Uint8Array(0)

export interface ConnectionHandler {
  /** One message. Nothing is read until it is done. If it fails, the connection ends with what it failed with. */
  message(message: Message): void | Promise<void>
  /**
   * No message will come any more: once, and not after close(). `reason` is undefined when the peer closed the connection
   * between two messages. The socket stays open until close().
   */
  ended(reason: unknown): void
}

export interface ConnectionOptions {
  /** `requests` for a back end, `replies` for a front end. */
  direction: Direction
  /** Most payload bytes a message may announce. Default MAX_REQUEST_PAYLOAD. */
  maxPayload?: number
}

/**
 * Whole vhost-user messages over a connected Unix stream socket, without blocking. Never reads past the current message, so
 * descriptors always belong to the message that they came with. At most one message is held at a time: the next one is read
 * after the handler of this one is done, and (for requests) after its reply is out.
 */
export class Connection {
  readonly fd: number
  readonly #direction: Direction
  readonly #maxPayload: number
  readonly #socket: MessageSocket
  readonly #queue: SendQueue
  readonly #buffer: Uint8Array
  readonly #view: DataView
  #handler: ConnectionHandler | undefined
  #poll: FdPoll | undefined
  #filled = 0
  /** Bytes of the message at hand: its header's, until that is known. */
  #wanted: number = HEADER.LENGTH
  #fds: number[] = []
  /** What the poll watches for. */
  #readable = true
  #writable = false
  #busy = false
  #ended = false
  #closed = false

  /** Takes over `fd`. */
  constructor(fd: number, options: ConnectionOptions) {
    this.fd = fd
    this.#direction = options.direction
    this.#maxPayload = options.maxPayload ?? MAX_REQUEST_PAYLOAD
    this.#socket = new MessageSocket(fd)
    this.#queue = new SendQueue(this.#socket, SEND_LIMIT)
    this.#buffer = new Uint8Array(HEADER.LENGTH + this.#maxPayload)
    this.#view = new DataView(this.#buffer.buffer)
  }

  /** Begins to read. @throws {SystemError} when the descriptor cannot be polled */
  start(handler: ConnectionHandler): void {
    this.#handler = handler
    this.#poll = new FdPoll(this.fd, { readable: true }, (readable, writable, error) =>
      this.#onPoll(readable, writable, error),
    )
  }

  /** Sends a message. Descriptors stay the caller's, who may close them at once. False when the connection is over. */
  send(request: number, flags: number, payload: Uint8Array = NO_BYTES, fds: readonly number[] = []): boolean {
    const frame = new Uint8Array(HEADER.LENGTH + payload.length)
    encodeHeader(new DataView(frame.buffer), 0, request, flags, payload.length)
    frame.set(payload, HEADER.LENGTH)
    return this.sendBytes(frame, fds)
  }

  /** Answers a request. */
  reply(request: number, payload: Uint8Array, fds: readonly number[] = []): boolean {
    return this.send(request, HEADER_FLAG.VERSION | HEADER_FLAG.REPLY, payload, fds)
  }

  /** Sends bytes as they are. They must not change afterwards. */
  sendBytes(bytes: Uint8Array, fds: readonly number[] = []): boolean {
    if (this.#ended || this.#closed) return false
    try {
      this.#queue.push(bytes, fds)
    } catch (error) {
      this.#end(error)
      return false
    }
    if (!this.#queue.empty) this.#watch()
    return true
  }

  /** Stops reading for good, without ending the connection: `ended` is not called any more. */
  stop(): void {
    this.#ended = true
    this.#poll?.close()
    this.#queue.discard()
    this.#dropFds()
  }

  /** Closes the socket. Idempotent. */
  close(): void {
    if (this.#closed) return
    this.stop()
    this.#closed = true
    close(this.fd)
  }

  #onPoll(readable: boolean, writable: boolean, error: number): void {
    if (writable) this.#flush()
    const idle = this.#reads()
    if (readable && idle && !this.#ended) this.#read()
    if (this.#ended) return
    if (error !== 0 && !this.#busy) {
      this.#end(new ProtocolError('VUS_SOCKET_ERROR', `poll: ${errnoName(-error)}`))
      return
    }
    // Watching goes on while a handler works: most are done by the next round, and a pause would cost two system calls.
    if (writable || !idle) this.#watch()
  }

  /** Whether the next message may be read. A back end whose reply does not get through takes no further request. */
  #reads(): boolean {
    return !this.#busy && (this.#direction === 'replies' || this.#queue.empty)
  }

  #watch(): void {
    const readable = this.#reads()
    const writable = !this.#queue.empty
    if (readable === this.#readable && writable === this.#writable) return
    this.#readable = readable
    this.#writable = writable
    this.#poll?.set({ readable, writable })
  }

  #flush(): void {
    try {
      this.#queue.flush()
    } catch (error) {
      this.#end(error)
    }
  }

  /** Reads as far as there are bytes, but no further than the end of one message. */
  #read(): void {
    for (;;) {
      const received = this.#socket.receive(this.#buffer, this.#filled, this.#wanted - this.#filled, this.#fds)
      if (received === -ERRNO.EINTR) continue
      if (received === -ERRNO.EAGAIN) return
      if (received <= 0) {
        this.#endOfStream(received)
        return
      }
      this.#filled += received
      if (this.#fds.length > MAX_REQUEST_FDS) {
        this.#end(new ProtocolError('VUS_FD_COUNT', `${this.#fds.length} with one message`))
        return
      }
      if (this.#filled === HEADER.LENGTH && !this.#acceptHeader()) return
      if (this.#filled === this.#wanted) {
        this.#deliver()
        return
      }
    }
  }

  #endOfStream(received: number): void {
    if (received === -ERRNO.EMSGSIZE) this.#end(new ProtocolError('VUS_FD_COUNT', 'more than can be received'))
    else if (received < 0) this.#end(new ProtocolError('VUS_SOCKET_ERROR', `recvmsg: ${errnoName(-received)}`))
    else if (this.#filled > 0) this.#end(new ProtocolError('VUS_TRUNCATED', `after ${this.#filled} bytes`))
    else this.#end(undefined)
  }

  #acceptHeader(): boolean {
    const header = decodeHeader(this.#view, 0)
    const fault = headerFault(header, this.#direction, this.#maxPayload)
    if (fault === undefined) {
      this.#wanted = HEADER.LENGTH + header.size
      return true
    }
    const { request, flags, size } = header
    this.#end(new ProtocolError(fault, `request ${request}, flags 0x${flags.toString(16)}, size ${size}`))
    return false
  }

  #deliver(): void {
    const { request, flags } = decodeHeader(this.#view, 0)
    const message = new Message(request, flags, this.#buffer.subarray(HEADER.LENGTH, this.#wanted), this.#fds)
    this.#fds = []
    this.#filled = 0
    this.#wanted = HEADER.LENGTH
    this.#busy = true
    this.#handle(message)
  }

  async #handle(message: Message): Promise<void> {
    let failure: unknown
    let failed = false
    try {
      await this.#handler?.message(message)
    } catch (error) {
      failure = error
      failed = true
    }
    message.release()
    this.#busy = false
    if (this.#ended) return
    if (failed) this.#end(failure)
    else this.#watch()
  }

  #end(reason: unknown): void {
    if (this.#ended) return
    this.stop()
    this.#handler?.ended(reason)
  }

  #dropFds(): void {
    for (const fd of this.#fds) close(fd)
    this.#fds.length = 0
  }
}
