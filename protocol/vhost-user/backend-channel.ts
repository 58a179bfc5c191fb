import { close, ERRNO, FdPoll, isListening, isUnixStreamSocket, MessageSocket } from 'memfd-mmap'
import { RefusedError } from './errors.js'
import type { SessionReporter } from './reporter.js'

/**
 * The socket of SET_BACKEND_REQ_FD, for requests of the back end to the front end (vhost-user.rst "Back-end message types").
 * Nothing is ever sent on it: of those requests none is of use to a SCSI device. It is kept because front ends hand it over and
 * expect it to stay open. Nothing can arrive on it either, as nothing was asked: bytes end the channel, and only the channel.
 */
export class BackendChannel {
  readonly #fd: number
  readonly #socket: MessageSocket
  readonly #report: SessionReporter
  readonly #poll: FdPoll
  #open = true

  /**
   * Takes over `fd`, unless this throws. It becomes O_NONBLOCK.
   * @throws {RefusedError} VUS_NOT_A_CHANNEL when it is no Unix stream socket, or one that listens
   * @throws {SystemError} when it cannot be polled
   */
  constructor(fd: number, report: SessionReporter) {
    if (!isUnixStreamSocket(fd) || isListening(fd)) throw new RefusedError('VUS_NOT_A_CHANNEL')
    this.#fd = fd
    this.#report = report
    this.#socket = new MessageSocket(fd)
    this.#poll = new FdPoll(fd, { readable: true }, () => this.#look())
  }

  get open(): boolean {
    return this.#open
  }

  /** Closes the socket. Idempotent. */
  close(): void {
    if (!this.#open) return
    this.#open = false
    this.#poll.close()
    close(this.#fd)
  }

  #look(): void {
    const fds: number[] = []
    const received = this.#socket.receive(new Uint8Array(1), 0, 1, fds)
    for (const fd of fds) close(fd)
    if (received === -ERRNO.EAGAIN || received === -ERRNO.EINTR) return
    this.close()
    // Less than 0 is a hang-up as well: of a socket that was never connected, or was reset. More descriptors than a message has
    // came with a byte.
    const unasked = received > 0 || received === -ERRNO.EMSGSIZE
    if (unasked)
      this.#report.event('warn', 'VUS_CHANNEL_MESSAGE', 'bytes that nobody asked for came on the back-end channel')
    else this.#report.event('debug', 'VUS_CHANNEL_CLOSED', 'the front end closed the back-end channel')
  }
}
