/**
 * Upgrade without downtime: a daemon that takes the sockets of a live one over, and asks it to leave. To be imported only where
 * that is configured.
 */
import { once } from 'node:events'
import { realpathSync, type Stats } from 'node:fs'
import { type ClientRequest, request } from 'node:http'
import { connect, type Socket } from 'node:net'
import { basename, dirname, join, resolve } from 'node:path'
import { json } from 'node:stream/consumers'
import { type Bind, BoundSocket, isLive, socketAt } from './bound-socket.js'
import { statusSchema } from './control/schemas.js'
import type { StatusInfo } from './control/target.js'
import { ControlClient } from './ctl/client.js'
import type { DaemonConfig } from './daemon-config.js'
import { errorCode, errorReason, StartError } from './errors.js'

/** How long the daemon before may take to say who it is, ms. */
const PROBE_MS = 5000
/** What it may take to leave beside its stop timeout, ms. */
const LEAVING_MS = 5000

/** Codes of a control socket that is nobody's. */
const NOBODY = new Set(['ENOENT', 'ECONNREFUSED'])

/**
 * How a daemon that was asked to leave has left. `left`: nothing of it is at work any more. `in-flight`: but for I/O that did not end in
 * its stop timeout, or it was killed. `late`: it is still there.
 */
export type Leaving = 'left' | 'in-flight' | 'late'

export interface TakeoverLimits {
  readonly probeMs: number
  readonly leavingMs: number
}

const LIMITS: TakeoverLimits = { probeMs: PROBE_MS, leavingMs: LEAVING_MS }

/** A live daemon that is to be taken over. */
export class Takeover {
  /** The daemon before. */
  readonly pid: number
  /** How long it may take to leave, ms. */
  readonly patience: number
  /** Takes a path over; the daemon before gets it back where the takeover fails. */
  readonly bind: Bind = (path, options) => {
    const socket = BoundSocket.replace(path, options, this.#seen.get(path))
    this.#taken.push(socket)
    return socket
  }
  readonly #config: DaemonConfig
  readonly #limits: TakeoverLimits
  /** What the paths meant when they were looked at. */
  readonly #seen: Map<string, Stats>
  readonly #taken: BoundSocket[] = []
  /** To the daemon before; undefined: it has gone by itself. */
  #connection: Socket | undefined

  private constructor(config: DaemonConfig, limits: TakeoverLimits, status: StatusInfo, seen: Map<string, Stats>) {
    this.pid = status.pid
    this.patience = status['stop-timeout-seconds'] * 1000 + limits.leavingMs
    this.#config = config
    this.#limits = limits
    this.#seen = seen
  }

  /**
   * The live daemon whose sockets the configuration names; undefined: there is none, and the sockets are free or stale. Nothing
   * has been changed.
   *
   * @param config with `takeover`
   * @throws StartError a socket is in use by somebody who cannot be asked to leave, or who serves others beside
   */
  static async find(config: DaemonConfig, limits = LIMITS): Promise<Takeover | undefined> {
    const paths = pathsOf(config)
    const seen = new Map<string, Stats>()
    for (const path of paths) {
      const socket = socketAt(path)
      if (socket !== undefined) seen.set(path, socket)
    }
    const control = config.controlSocket!
    let status: StatusInfo
    try {
      status = await new ControlClient(control, limits.probeMs).ask(statusSchema, 'GET', '/v1/status')
    } catch (error) {
      const live = paths.find(isLive)
      if (live === undefined && NOBODY.has(errorCode(error))) return undefined
      throw refused(
        `${live ?? control}: is in use, and nobody can be asked to leave: ${(error as Error).message}`,
        error,
      )
    }
    check(status, paths, control)
    return new Takeover(config, limits, status, seen)
  }

  /**
   * Gets hold of the daemon before, so that it can be asked whatever becomes of its paths.
   *
   * @throws StartError it is there, but cannot be reached
   */
  async connect(): Promise<void> {
    const socket = connect(this.#config.controlSocket!)
    // What comes later concerns the request.
    socket.on('error', () => {})
    try {
      await once(socket, 'connect')
      this.#connection = socket
    } catch (error) {
      if ((await Takeover.find(this.#config, this.#limits)) !== undefined) {
        throw refused(`${this.#config.controlSocket}: cannot be connected to: ${errorReason(error)}`, error)
      }
      this.#seen.clear()
    }
  }

  /**
   * Asks the daemon before to leave, and resolves when it has, or its time is up.
   *
   * @throws StartError it refuses, or was not the one that had the sockets
   */
  async leave(): Promise<Leaving> {
    const leaving = this.#connection === undefined ? 'left' : await this.#ask(this.#connection)
    if (leaving !== 'late' && this.#taken.some((socket) => socket.isPreviousLive)) {
      throw refused(`${this.#config.controlSocket}: another process has taken over meanwhile`)
    }
    return leaving
  }

  /** There is no way back: the daemon before gets no path back any more. */
  settle(): void {
    for (const socket of this.#taken) socket.settle()
  }

  async #ask(connection: Socket): Promise<Leaving> {
    const asked = request({ createConnection: () => connection, method: 'POST', path: '/v1/stop' })
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<'late'>((done) => {
      timer = setTimeout(() => done('late'), this.patience)
    })
    try {
      return await Promise.race([answer(asked), late])
    } finally {
      clearTimeout(timer)
      asked.destroy()
    }
  }
}

/** @throws StartError the daemon of that status is not to be taken over */
function check({ ready, controllers }: StatusInfo, paths: readonly string[], control: string): void {
  const theirs = new Set(controllers.map(({ address }) => realName(address)))
  const foreign = paths.find((path) => !theirs.has(realName(path)) && isLive(path))
  if (foreign !== undefined) {
    throw refused(`${foreign}: is in use by a live process other than the daemon of ${control}`)
  }
  const ours = new Set(paths.map(realName))
  if (![...theirs].some((path) => ours.has(path))) {
    throw refused(`${control}: is in use by a daemon that serves none of these sockets, such as ${paths[0]}`)
  }
  const lost = controllers.find(({ address, connected }) => connected && !ours.has(realName(address)))
  if (lost !== undefined) {
    throw refused(`controller "${lost.id}" on ${lost.address} has a front end, and is none of this configuration`)
  }
  if (!ready) throw refused(`${control}: the daemon is still starting`)
}

function pathsOf({ controllers }: DaemonConfig): string[] {
  return controllers.flatMap(({ socketPath }) => socketPath ?? [])
}

/** A name of a path that is the same whichever symbolic links lead to it. */
function realName(path: string): string {
  try {
    return join(realpathSync(dirname(path)), basename(path))
  } catch {
    return resolve(path)
  }
}

/** What became of the daemon that was asked. A connection that ends without an answer is one that was killed. */
function answer(asked: ClientRequest): Promise<Leaving> {
  return new Promise((done, fail) => {
    asked.on('error', () => done('in-flight'))
    asked.on('response', (response) => {
      json(response).then(
        (body) => {
          const { 'in-flight': inFlight, error } = body as { 'in-flight'?: boolean; error?: { message: string } }
          if (inFlight !== undefined) done(inFlight ? 'in-flight' : 'left')
          else fail(refused(`the daemon before does not leave: ${error?.message ?? `status ${response.statusCode}`}`))
        },
        () => done('in-flight'),
      )
    })
    asked.end()
  })
}

function refused(message: string, cause?: unknown): StartError {
  return new StartError('VUS_TAKEOVER', `takeover: ${message}`, { cause })
}
