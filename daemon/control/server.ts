/** The control API on a Unix socket. To be imported only where one is configured: a start without it stays quick. */
import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import { setTimeout } from 'node:timers/promises'
import { getRequestListener, RequestError } from '@hono/node-server'
import { type Bind, BoundSocket } from '../bound-socket.js'
import { errorCode, errorReason, StartError } from '../errors.js'
import type { Log } from '../log.js'
import { createApp, INTERNAL_FAULT } from './app.js'
import { type ControlTarget, REFUSALS } from './target.js'

/** Whoever may connect may do everything. */
const SOCKET_MODE = 0o600
const MAX_HEADER_BYTES = 8192

export interface ControlLimits {
  /** Time for a whole request to arrive, ms. */
  readonly requestMs: number
  /** Longest silence of a connection, ms; also while a request is carried out, and I/O may take its time. */
  readonly idleMs: number
  readonly connections: number
}

/** What waits for the end of the daemon has this long to be answered, ms. */
const LAST_ANSWERS_MS = 1000

export const LIMITS: ControlLimits = { requestMs: 10_000, idleMs: 300_000, connections: 32 }

export class ControlServer {
  readonly path: string
  readonly #server: Server
  readonly #bound: BoundSocket
  readonly #gate: Gate
  #closed: Promise<void> | undefined

  private constructor(server: Server, bound: BoundSocket, gate: Gate) {
    this.path = bound.path
    this.#server = server
    this.#bound = bound
    this.#gate = gate
  }

  /**
   * Serves the API at a path. Rejects with StartError if the path cannot be had.
   *
   * @param bind how to come by the path
   */
  static async listen(
    path: string,
    target: ControlTarget,
    log: Log,
    limits: ControlLimits = LIMITS,
    bind: Bind = BoundSocket.bind,
  ): Promise<ControlServer> {
    const gate: Gate = { isOpen: true }
    // The classes of the process stay as they are: a daemon is more than its control API.
    const serve = getRequestListener(createApp(target, log).fetch, {
      overrideGlobalObjects: false,
      errorHandler: (error) => failed(error, log),
    })
    const server = createServer(
      {
        maxHeaderSize: MAX_HEADER_BYTES,
        requestTimeout: limits.requestMs,
        headersTimeout: limits.requestMs,
        connectionsCheckingInterval: Math.ceil(limits.requestMs / 4),
      },
      (request, response) => {
        if (gate.isOpen) void serve(request, response)
        else response.writeHead(REFUSALS.ESHUTDOWN, STOPPING.headers).end(STOPPING.body)
      },
    )
    server.maxConnections = limits.connections
    server.timeout = limits.idleMs
    const bound = bind(path, { mode: SOCKET_MODE })
    try {
      server.listen({ fd: bound.fd })
      await once(server, 'listening')
    } catch (error) {
      bound.unlink()
      throw new StartError(errorCode(error), `control: cannot listen on ${path}: ${errorReason(error)}`, {
        cause: error,
      })
    }
    server.on('error', (error) => log.error({ err: error }, 'the control server failed'))
    return new ControlServer(server, bound, gate)
  }

  /** Removes the socket and takes no more requests. What is under way goes on. Idempotent. */
  retire(): void {
    if (this.#closed !== undefined) return
    this.#gate.isOpen = false
    this.#bound.unlink()
    this.#closed = new Promise<void>((done) => this.#server.close(() => done()))
  }

  /** Stops when what is under way has been answered; after a moment it is cut. */
  async finish(): Promise<void> {
    this.retire()
    await Promise.race([this.#closed, setTimeout(LAST_ANSWERS_MS, undefined, { ref: false })])
    await this.close()
  }

  /** Removes the socket and stops at once, cutting what is under way. */
  async close(): Promise<void> {
    this.retire()
    this.#server.closeAllConnections()
    await this.#closed
  }
}

/** Whether requests are let in. */
interface Gate {
  isOpen: boolean
}

const STOPPING = {
  headers: { 'content-type': 'application/json', connection: 'close' },
  body: JSON.stringify({ error: { code: 'ESHUTDOWN', message: 'the daemon is stopping' } }),
}

/** What never got to the API, such as a Host header that is none, or what the API could not deal with. */
function failed(error: unknown, log: Log): Response {
  if (error instanceof RequestError) return refusal(400, 'VUS_REQUEST', error.message)
  log.error({ err: error }, 'control: a request failed')
  return refusal(500, 'VUS_INTERNAL', INTERNAL_FAULT)
}

function refusal(status: number, code: string, message: string): Response {
  return Response.json({ error: { code, message } }, { status })
}
