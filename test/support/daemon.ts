import { get } from 'node:http'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Child, type Exit } from './child.js'
import { reported, within } from './deadline.js'
import { openFiles, sharedMappings } from './proc.js'
import { Metrics } from './prometheus.js'
import type { Teardown } from './teardown.js'
import { tempDir } from './temp-dir.js'

const MAIN = fileURLToPath(new URL('../../daemon/main.js', import.meta.url))

const START = 60_000
const STOP = 60_000
const SCRAPE = 30_000

export interface Probed {
  status: number | undefined
  body: string
}

/** GET over a Unix socket, on a connection of its own. */
const fetchUnix = (socketPath: string, path: string): Promise<Probed> =>
  new Promise((resolve, reject) => {
    const request = get({ socketPath, path, agent: false }, (response) => {
      let body = ''
      response.setEncoding('utf8')
      response.on('data', (text: string) => {
        body += text
      })
      response.on('error', reject)
      response.on('end', () => resolve({ status: response.statusCode, body }))
    })
    request.on('error', reject)
  })

/** A running vhost-user-scsid, one process. */
export class Daemon {
  readonly child: Child
  readonly socketPath: string
  readonly #metricsPath: string

  constructor(child: Child, socketPath: string, metricsPath: string) {
    this.child = child
    this.socketPath = socketPath
    this.#metricsPath = metricsPath
  }

  get pid(): number {
    return this.child.pid
  }

  async metrics(): Promise<Metrics> {
    const { status, body } = await this.probe('/metrics')
    if (status !== 200) throw new Error(`GET /metrics: ${status} ${body}`)
    return new Metrics(body)
  }

  /** GET from the listener of the metrics: '/healthz', '/readyz' or '/metrics'. */
  async probe(path: string): Promise<Probed> {
    const answer = within(SCRAPE, `the answer to GET ${path}`, fetchUnix(this.#metricsPath, path))
    return reported(answer, () => this.child.report())
  }

  /** The open descriptors, by number. */
  openFiles(): Map<number, string> {
    return openFiles(this.pid)
  }

  /** The shared mappings, as lines of /proc/PID/maps. */
  sharedMappings(): string[] {
    return sharedMappings(this.pid)
  }

  /** SIGTERM, and how the process ended. */
  async stop(): Promise<Exit> {
    this.child.process.kill('SIGTERM')
    return this.child.ended(STOP)
  }
}

/**
 * Starts dist/daemon/main.js on a socket in a directory of the test's own and waits for the line on its stdout that
 * names the socket. `args` are the daemon's; the socket and the metrics' listener are added.
 */
export const startDaemon = async (t: Teardown, args: readonly string[]): Promise<Daemon> => {
  const dir = tempDir(t)
  const socketPath = join(dir, 'scsi.sock')
  const metricsPath = join(dir, 'metrics.sock')
  const own = [`--socket-path=${socketPath}`, `--metrics-listen=unix:${metricsPath}`]
  const child = new Child(t, 'vhost-user-scsid', process.execPath, [MAIN, ...own, ...args])
  await child.output('stdout', new RegExp(`^.*${socketPath}.*$`, 'm'), START)
  return new Daemon(child, socketPath, metricsPath)
}
