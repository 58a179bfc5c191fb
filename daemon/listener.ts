/**
 * Where a controller's front end comes from: a socket at a path, or an inherited descriptor that listens or is connected
 * already (vhost-user.rst "Backend program conventions"). One front end is served at a time; the next one waits in the
 * backlog.
 */
import { resolve } from 'node:path'
import { acceptUnix, close, errnoName, FdPoll, isListening, isUnixStreamSocket } from 'memfd-mmap'
import { type Bind, BoundSocket } from './bound-socket.js'
import type { ControllerConfig } from './daemon-config.js'
import { errorCode, errorReason, StartError } from './errors.js'
import type { Log } from './log.js'
import { RateLimit } from './rate-limit.js'

/** Serves one connection, whose descriptor it owns; settles when the connection has ended and nothing of it is left. */
export type Serve = (fd: number) => Promise<void>

/** What a listener needs of a controller's configuration. */
export type ListenerConfig = Pick<ControllerConfig, 'id' | 'socketPath' | 'fd' | 'socketMode' | 'socketGid'>

/** Descriptors are short or memory is: accept again after this time. */
const RETRY_MS = 1000
const PASSING_ERRORS = new Set(['ECONNABORTED', 'EINTR', 'EPROTO'])

export class Listener {
  /** What a front end connects to, for people: an absolute path, or `fd N`. */
  readonly address: string
  /** Settles when no further front end can come: a connected descriptor's connection has ended. Never otherwise. */
  readonly exhausted: Promise<void>
  readonly #log: Log
  readonly #fd: number
  readonly #bound: BoundSocket | undefined
  readonly #connected: boolean
  readonly #limit = new RateLimit()
  #exhaust: () => void = () => {}
  #serve: Serve | undefined
  #poll: FdPoll | undefined
  #retry: NodeJS.Timeout | undefined
  #serving = false
  #closed = false

  private constructor(config: ListenerConfig, log: Log, bind: Bind) {
    this.exhausted = new Promise((done) => {
      this.#exhaust = done
    })
    this.#log = log
    if (config.fd !== undefined) {
      checkSocket(config.fd)
      this.address = `fd ${config.fd}`
      this.#fd = config.fd
      this.#connected = !isListening(config.fd)
    } else {
      const path = config.socketPath
      if (path === undefined) throw new StartError('VUS_CONFIG', `controller "${config.id}": no socket path and no fd`)
      this.address = resolve(path)
      this.#bound = bind(path, { mode: config.socketMode, gid: config.socketGid })
      this.#fd = this.#bound.fd
      this.#connected = false
    }
  }

  /**
   * Takes the controller's socket: from now on front ends can connect, and wait until start(). Throws StartError: the
   * path is in use by a live process, cannot be had, or the descriptor is not a Unix stream socket.
   *
   * @param bind how to come by a path
   */
  static open(config: ListenerConfig, log: Log, bind: Bind = BoundSocket.bind): Listener {
    return new Listener(config, log, bind)
  }

  /** Serves front ends from now on. To be called once. */
  start(serve: Serve): void {
    if (this.#serve !== undefined || this.#closed) throw new Error('a listener can be started once')
    this.#serve = serve
    if (this.#connected) {
      void this.#run(this.#fd)
      return
    }
    this.#poll = new FdPoll(this.#fd, { readable: true }, () => this.#onReadable())
  }

  /** Takes no further front end, and removes the path if this listener made it. The one being served is not touched. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    clearTimeout(this.#retry)
    this.#poll?.close()
    this.#bound?.unlink()
    // A connected descriptor belongs to whoever serves it.
    if (!this.#connected || this.#serve === undefined) close(this.#fd)
  }

  #onReadable(): void {
    if (this.#serving) {
      this.#pause()
      this.#limit.run((suppressed) => {
        this.#log.warn({ suppressed }, `${this.address}: a second front end waits until the first has gone`)
      })
      return
    }
    const fd = acceptUnix(this.#fd)
    if (fd >= 0) {
      void this.#run(fd)
      return
    }
    const code = errnoName(-fd)
    if (code === 'EAGAIN' || PASSING_ERRORS.has(code)) return
    this.#pause()
    this.#retry = setTimeout(() => this.#resume(), RETRY_MS)
    this.#limit.run((suppressed) => {
      this.#log.error({ suppressed, code }, `${this.address}: cannot accept a front end: ${errorReason({ code })}`)
    })
  }

  async #run(fd: number): Promise<void> {
    this.#serving = true
    try {
      await this.#serve!(fd)
    } catch (error) {
      this.#log.error({ err: error, code: errorCode(error) }, `${this.address}: the connection failed`)
    }
    this.#serving = false
    if (this.#connected) this.#exhaust()
    else this.#resume()
  }

  #pause(): void {
    this.#poll?.set({})
  }

  #resume(): void {
    if (!this.#closed) this.#poll?.set({ readable: true })
  }
}

function checkSocket(fd: number): void {
  if (!isUnixStreamSocket(fd)) throw new StartError('VUS_SOCKET_FD', `--fd=${fd}: expected an open Unix stream socket`)
}
