/**
 * HTTP for Prometheus and for probes: /metrics, /healthz (the process answers, and so do its IOThreads) and /readyz (the
 * sockets listen).
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { BoundSocket } from './bound-socket.js'
import type { ListenAddress } from './daemon-config.js'
import { errorCode, errorReason, StartError } from './errors.js'
import { formatListenAddress } from './listen-address.js'
import type { Log } from './log.js'
import type { Metrics } from './metrics.js'

const PLAIN = 'text/plain; charset=utf-8'
const MAX_HEADER_BYTES = 8192
const REQUEST_TIMEOUT_MS = 10_000
const MAX_CONNECTIONS = 64

/** What the probes answer. */
export interface Probes {
  isReady(): boolean
  /** The IOThreads that do not answer. */
  silentIothreads(): readonly string[]
}

export class MetricsServer {
  /** Where it listens, with the port that was picked if none was given. */
  readonly address: ListenAddress
  readonly #server: Server
  readonly #bound: BoundSocket | undefined

  private constructor(address: ListenAddress, server: Server, bound: BoundSocket | undefined) {
    this.address = address
    this.#server = server
    this.#bound = bound
  }

  /** @throws StartError if the address cannot be had */
  static async listen(address: ListenAddress, metrics: Metrics, probes: Probes, log: Log): Promise<MetricsServer> {
    const server = createServer(
      { maxHeaderSize: MAX_HEADER_BYTES, requestTimeout: REQUEST_TIMEOUT_MS, headersTimeout: REQUEST_TIMEOUT_MS },
      (request, response) => {
        answer(request, response, metrics, probes).catch((error: unknown) => {
          log.error({ err: error }, 'the metrics could not be collected')
          if (!response.headersSent) send(response, 500, PLAIN, 'the metrics could not be collected\n')
        })
      },
    )
    server.maxConnections = MAX_CONNECTIONS
    const bound = 'path' in address ? BoundSocket.bind(address.path) : undefined
    try {
      await listening(server, bound === undefined ? address : { fd: bound.fd })
    } catch (error) {
      bound?.unlink()
      throw new StartError(
        errorCode(error),
        `metrics: cannot listen on ${formatListenAddress(address)}: ${errorReason(error)}`,
        { cause: error },
      )
    }
    server.on('error', (error) => log.error({ err: error }, 'the metrics server failed'))
    const actual = 'path' in address ? address : { ...address, port: (server.address() as AddressInfo).port }
    return new MetricsServer(actual, server, bound)
  }

  /** Stops at once, cutting what is under way. */
  async close(): Promise<void> {
    this.#bound?.unlink()
    const closed = new Promise<void>((done) => this.#server.close(() => done()))
    this.#server.closeAllConnections()
    await closed
  }
}

function listening(server: Server, where: ListenAddress | { fd: number }): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(where, () => {
      server.off('error', reject)
      resolve()
    })
  })
}

async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  metrics: Metrics,
  probes: Probes,
): Promise<void> {
  const path = request.url?.split('?', 1)[0]
  const known = path === '/metrics' || path === '/healthz' || path === '/readyz'
  if (!known) return send(response, 404, PLAIN, 'not found: try /metrics, /healthz or /readyz\n')
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    response.setHeader('Allow', 'GET, HEAD')
    return send(response, 405, PLAIN, 'method not allowed\n')
  }
  if (path === '/healthz') {
    const silent = probes.silentIothreads()
    return silent.length === 0
      ? send(response, 200, PLAIN, 'ok\n')
      : send(response, 503, PLAIN, `IOThreads that do not answer: ${silent.join(', ')}\n`)
  }
  if (path === '/readyz')
    return probes.isReady() ? send(response, 200, PLAIN, 'ready\n') : send(response, 503, PLAIN, 'not ready\n')
  return send(response, 200, metrics.contentType, await metrics.text())
}

function send(response: ServerResponse, status: number, type: string, body: string): void {
  response.statusCode = status
  response.setHeader('Content-Type', type)
  response.setHeader('Content-Length', Buffer.byteLength(body))
  response.end(body)
}
