/** The control API on a Unix socket. To be imported only where one is configured: a start without it stays quick. */
import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import { getRequestListener, RequestError } from '@hono/node-server'
import { BoundSocket } from '../bound-socket.js'
import { errorCode, errorReason, StartError } from '../errors.js'
import type { Log } from '../log.js'
import { createApp, INTERNAL_FAULT } from './app.js'
import type { ControlTarget } from './target.js'

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

export const LIMITS: ControlLimits = { requestMs: 10_000, idleMs: 300_000, connections: 32 }

export class ControlServer {
  readonly path: string
  readonly #server: Server
  readonly #bound: BoundSocket

  private constructor(server: Server, bound: BoundSocket) {
    this.path = bound.path
    this.#server = server
    this.#bound = bound
  }

  /** Serves the API at a path. Rejects with StartError if the path cannot be had. */
  static async listen(
    path: string,
    target: ControlTarget,
    log: Log,
    limits: ControlLimits = LIMITS,
  ): Promise<ControlServer> {
    const server = createServer(
      {
        maxHeaderSize: MAX_HEADER_BYTES,
        requestTimeout: limits.requestMs,
        headersTimeout: limits.requestMs,
        connectionsCheckingInterval: Math.ceil(limits.requestMs / 4),
      },
      // The classes of the process stay as they are: a daemon is more than its control API.
      getRequestListener(createApp(target, log).fetch, {
        overrideGlobalObjects: false,
        errorHandler: (error) => failed(error, log),
      }),
    )
    server.maxConnections = limits.connections
    server.timeout = limits.idleMs
    const bound = BoundSocket.bind(path, { mode: SOCKET_MODE })
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
    return new ControlServer(server, bound)
  }

  /** Removes the socket and stops at once, cutting what is under way. */
  async close(): Promise<void> {
    this.#bound.unlink()
    const closed = new Promise<void>((done) => this.#server.close(() => done()))
    this.#server.closeAllConnections()
    await closed
  }
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
