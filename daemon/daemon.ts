/** The running daemon: IOThreads, LUNs, controllers and their sockets, and the order in which they come and go. */

import { setTimeout as sleep } from 'node:timers/promises'
import { BackendSession } from 'vhost-user-protocol-ts'
import { Administration } from './administration.js'
import type { Bind } from './bound-socket.js'
import type { ControlServer } from './control/server.js'
import { Controller } from './controller.js'
import type { ControllerConfig, DaemonConfig } from './daemon-config.js'
import { errorCode, StartError } from './errors.js'
import { FaultLog } from './fault-log.js'
import { ForwardedCommands } from './forwarded-commands.js'
import { IothreadPool } from './iothread-pool.js'
import { Listener } from './listener.js'
import type { Log } from './log.js'
import { Lun } from './lun.js'
import { Metrics, type QueueSource } from './metrics.js'
import { MetricsServer } from './metrics-server.js'
import type { RunningDaemon } from './run.js'
import { SpaceWatch } from './space-watch.js'
import { openStateDir } from './state-dir.js'
import type { Takeover } from './takeover.js'
import { daemonVersion } from './version.js'

/** The metrics' address is waited for, after a daemon that had it has left: so often, and this long apart, ms. */
const METRICS_ATTEMPTS = 50
const METRICS_INTERVAL = 100
/** What it means that a daemon to be taken over still has the address of the metrics. */
const IN_USE = new Set(['EADDRINUSE', 'VUS_SOCKET_IN_USE'])

interface Served {
  readonly controller: Controller
  readonly listener: Listener
  session: BackendSession | undefined
}

/** Starts everything; resolves when the sockets can be connected to. Rejects with StartError, with nothing left behind. */
export async function startDaemon(config: DaemonConfig, log: Log): Promise<RunningDaemon> {
  const daemon = new Daemon(config, log)
  try {
    await daemon.start()
  } catch (error) {
    await daemon.stop()
    throw error
  }
  return daemon
}

class Daemon implements RunningDaemon {
  readonly finished: Promise<void>
  readonly #config: DaemonConfig
  readonly #log: Log
  readonly #metrics: Metrics
  readonly #iothreads: IothreadPool
  readonly #luns = new Map<string, Lun>()
  #spaceWatch: SpaceWatch | undefined
  readonly #opened: Listener[] = []
  readonly #served: Served[] = []
  readonly #faults: FaultLog
  readonly #forwarded = new ForwardedCommands(
    (id, target, lun) => this.#controller(id)?.nexusAt(target, lun),
    (error) => this.#fail(error),
  )
  #controlServer: ControlServer | undefined
  #metricsServer: MetricsServer | undefined
  #ready = false
  /** Resolves when nothing is served any more: whether I/O is still in flight. */
  readonly #ended: Promise<boolean>
  #end: (inFlight: boolean) => void = () => {}
  #finish: () => void = () => {}
  #fail: (error: unknown) => void = () => {}

  constructor(config: DaemonConfig, log: Log) {
    this.#config = config
    this.#log = log
    this.#iothreads = new IothreadPool(
      {
        fault: (fault) => this.#faults.ringFault(fault),
        mediumFault: (fault) => this.#faults.mediumFault(fault),
        failed: (error) => this.#fail(error),
        forwarded: (task) => this.#forwarded.forwarded(task),
        recalled: (task) => this.#forwarded.recalled(task),
      },
      log,
    )
    this.#metrics = new Metrics(
      { queues: () => this.#queues(), iothreads: () => this.#iothreads.list() },
      daemonVersion(),
    )
    this.#faults = new FaultLog(log, this.#metrics, (id, place) => {
      return this.#controller(id)?.lunAt(place)
    })
    this.finished = new Promise((resolve, reject) => {
      this.#finish = resolve
      this.#fail = reject
    })
    this.finished.catch(() => {})
    this.#ended = new Promise((resolve) => {
      this.#end = resolve
    })
  }

  #controller(id: string): Controller | undefined {
    return this.#served.find(({ controller }) => controller.id === id)?.controller
  }

  async start(): Promise<void> {
    const { luns, stateDir } = this.#config
    const keepIn = stateDir === undefined ? undefined : openStateDir(stateDir)
    for (const config of luns) {
      const lun = Lun.open(config)
      this.#luns.set(config.id, lun)
      if (keepIn !== undefined) lun.keepIn(keepIn)
    }
    const takeover = await this.#findPredecessor()
    if (takeover === undefined) await this.#startAlone()
    else await this.#startBeside(takeover)
    this.#spaceWatch = new SpaceWatch(this.#luns.values(), this.#log)
    this.#spaceWatch.start()
    this.#ready = true
    void Promise.all(this.#opened.map(({ exhausted }) => exhausted)).then(() => this.#finish())
  }

  async #findPredecessor(): Promise<Takeover | undefined> {
    if (this.#config.takeover !== true) return undefined
    const { Takeover } = await import('./takeover.js')
    return Takeover.find(this.#config)
  }

  async #startAlone(): Promise<void> {
    const { iothreads, controllers, controlSocket } = this.#config
    // Sockets first: a front end may connect from now on, and waits in the backlog.
    this.#openListeners()
    await this.#listenForMetrics()
    if (controlSocket !== undefined) await this.#listenForControl(controlSocket)
    for (const { keeper } of this.#luns.values()) await keeper?.open()
    await this.#iothreads.start(iothreads)
    for (const [i, controller] of controllers.entries()) this.#serve(await this.#make(controller), this.#opened[i]!)
  }

  /** Sockets last: all that can fail comes before the daemon that has them loses anything. */
  async #startBeside(takeover: Takeover): Promise<void> {
    const { iothreads, controllers, controlSocket } = this.#config
    this.#log.info({ pid: takeover.pid }, `taking over from the daemon with pid ${takeover.pid}`)
    this.#warnOfMemory()
    await this.#iothreads.start(iothreads)
    const made: Controller[] = []
    for (const controller of controllers) made.push(await this.#make(controller))
    const hasMetrics = await this.#listenForMetrics().then(
      () => true,
      (error: unknown) => {
        if (IN_USE.has(errorCode(error))) return false
        throw error
      },
    )
    // What it needs is loaded now: it would take its time later on.
    await import('./control/server.js')
    await takeover.connect()
    this.#openListeners(takeover.bind)
    for (const { lock, keeper } of this.#luns.values()) {
      lock?.expectWithin(takeover.patience)
      keeper?.expectWithin(takeover.patience)
    }
    const leaving = takeover.leave()
    leaving.catch(() => {})
    for (const [i, controller] of made.entries()) this.#serve(controller, this.#opened[i]!)
    const outcome = await leaving
    if (outcome === 'late') {
      const seconds = takeover.patience / 1000
      this.#log.error(
        { pid: takeover.pid },
        `the daemon before (pid ${takeover.pid}) has not left within ${seconds} s: what is connected to it stays there until it ends`,
      )
    } else if (outcome === 'in-flight') {
      this.#log.warn({ pid: takeover.pid }, 'the daemon before has left with I/O in flight')
    }
    await this.#listenForControl(controlSocket!, takeover.bind).catch((error: unknown) => this.#goWithout(error))
    takeover.settle()
    if (!hasMetrics) await this.#inheritMetrics().catch((error: unknown) => this.#goWithout(error))
  }

  #warnOfMemory(): void {
    for (const { id, driver } of this.#config.luns) {
      if (driver === 'memory') this.#log.warn({ lun: id }, `lun "${id}": its content ends with the daemon before`)
    }
  }

  /** Guests are served already: that counts for more than a place to ask how. */
  #goWithout(error: unknown): void {
    if (!(error instanceof StartError)) throw error
    this.#log.error({ code: error.code }, error.message)
  }

  /** The metrics' address, which the daemon before gives back when it leaves. */
  async #inheritMetrics(): Promise<void> {
    for (let left = METRICS_ATTEMPTS; ; left--) {
      try {
        return await this.#listenForMetrics()
      } catch (error) {
        if (left === 0 || !IN_USE.has(errorCode(error))) throw error
      }
      await sleep(METRICS_INTERVAL)
    }
  }

  #openListeners(bind?: Bind): void {
    for (const controller of this.#config.controllers) this.#opened.push(Listener.open(controller, this.#log, bind))
  }

  async #listenForMetrics(): Promise<void> {
    const { metricsListen } = this.#config
    if (metricsListen === undefined) return
    this.#metricsServer = await MetricsServer.listen(
      metricsListen,
      this.#metrics,
      { isReady: () => this.#ready, silentIothreads: () => this.#iothreads.silent() },
      this.#log,
    )
  }

  async #listenForControl(path: string, bind?: Bind): Promise<void> {
    const { ControlServer } = await import('./control/server.js')
    const administration = new Administration(
      {
        iothreads: this.#iothreads,
        luns: this.#luns,
        controllers: () =>
          this.#served.map(({ controller, listener, session }) => {
            return { controller, address: listener.address, connected: session !== undefined }
          }),
        stopTimeoutSeconds: this.#config.stopTimeoutSeconds,
        ready: () => this.#ready,
        stop: () => {
          this.#finish()
          return this.#ended
        },
      },
      this.#log,
    )
    this.#controlServer = await ControlServer.listen(path, administration, this.#log, undefined, bind)
  }

  async #make(config: ControllerConfig): Promise<Controller> {
    const log = this.#faults.of(config.id)
    const iothreads = config.queueToIothread.map((index) => this.#iothreads.get(this.#config.iothreads[index]!.id)!)
    const luns = config.luns.map(({ id }) => this.#luns.get(id)!)
    const controller = new Controller(config, iothreads, luns, log, {
      fault: (index, code) => this.#faults.mainRingFault(config.id, index, code),
      failed: (error) => this.#fail(error),
    })
    await controller.attach()
    return controller
  }

  #serve(controller: Controller, listener: Listener): void {
    const served: Served = { controller, listener, session: undefined }
    this.#served.push(served)
    listener.start(async (fd) => {
      this.#metrics.countConnection()
      this.#faults.connected(controller.id, listener.address)
      served.session = new BackendSession(fd, controller, { report: this.#faults.reporter(controller.id) })
      await served.session.closed
      served.session = undefined
    })
  }

  *#queues(): Iterable<QueueSource> {
    for (const { controller } of this.#served) yield* controller.queues()
  }

  async stop(): Promise<void> {
    this.#ready = false
    const limit = this.#config.stopTimeoutSeconds * 1000
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<'late'>((resolve) => {
      timer = setTimeout(() => resolve('late'), limit)
    })
    const outcome = await Promise.race([this.#stopAll(), late])
    clearTimeout(timer)
    if (outcome === 'late')
      this.#log.warn(`I/O is still in flight after ${this.#config.stopTimeoutSeconds} s: leaving it`)
    this.#end(outcome === 'late')
    await this.#controlServer?.finish()
  }

  async #stopAll(): Promise<void> {
    this.#spaceWatch?.stop()
    for (const listener of this.#opened) listener.close()
    this.#controlServer?.retire()
    await this.#metricsServer?.close()
    await Promise.all(Array.from(this.#luns.values(), ({ executor }) => executor.close()))
    await Promise.all(
      this.#served.map(async ({ controller, session }) => {
        controller.leave()
        await session?.close()
      }),
    )
    await Promise.all(Array.from(this.#luns.values(), ({ keeper }) => keeper?.freeze()))
    await Promise.all(this.#served.map(({ controller }) => controller.detach()))
    await this.#iothreads.stop()
    for (const lun of this.#luns.values()) {
      lun.close()
      await lun.keeper?.close()
    }
  }
}
