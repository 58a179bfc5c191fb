import { socketPair } from 'memfd-mmap'
import { Connection, HEADER, MAX_REQUEST_PAYLOAD, type Message, SHMEM_CONFIG } from 'vhost-user-protocol-ts'
import { frame } from './frame.js'
import { turn } from './wire.js'

/**
 * Stands between a front end and a back end and hands every request on byte by byte, its descriptors with the first byte.
 * Replies pass as they are.
 */
export class Drip {
  /** The sockets for the two. */
  readonly frontEndFd: number
  readonly backEndFd: number
  readonly #requests: Connection
  readonly #replies: Connection

  constructor() {
    const [frontEndFd, fromFrontEnd] = socketPair()
    const [backEndFd, toBackEnd] = socketPair()
    this.frontEndFd = frontEndFd
    this.backEndFd = backEndFd
    this.#requests = new Connection(fromFrontEnd, { direction: 'requests' })
    this.#replies = new Connection(toBackEnd, {
      direction: 'replies',
      maxPayload: Math.max(MAX_REQUEST_PAYLOAD, SHMEM_CONFIG.SIZE),
    })
    const ended = (): void => this.close()
    this.#requests.start({ message: (message) => this.#drip(message), ended })
    this.#replies.start({ message: (message) => this.#pass(message), ended })
  }

  close(): void {
    this.#requests.close()
    this.#replies.close()
  }

  async #drip(message: Message): Promise<void> {
    const bytes = frame(message.request, message.flags, message.bytes)
    for (let i = 0; i < bytes.length; i++) {
      this.#replies.sendBytes(bytes.slice(i, i + 1), i === 0 ? message.fds : [])
      // Some bytes arrive alone, some wait in the socket for the next.
      if (i === 0 || i === HEADER.LENGTH - 1 || i % 3 === 0) await turn()
    }
  }

  #pass(message: Message): void {
    this.#requests.sendBytes(frame(message.request, message.flags, message.bytes))
  }
}
