/** The running daemon: IOThreads, LUNs, controllers and their sockets, and the order in which they come and go. */
import { BackendSession } from 'vhost-user-protocol-ts'
import { Administration } from './administration.js'
import type { ControlServer } from './control/server.js'
import { Controller } from './controller.js'
import type { ControllerConfig, DaemonConfig } from './daemon-config.js'
import { FaultLog } from './fault-log.js'
import { ForwardedCommands } from './forwarded-commands.js'
import { IothreadPool } from './iothread-pool.js'
import { Listener } from './listener.js'
import type { Log } from './log.js'
import { Lun } from './lun.js'
import { Metrics, type QueueSource } from './metrics.js'
import { MetricsServer } from './metrics-server.js'
import type { RunningDaemon } from './run.js'
import { daemonVersion } from './version.js'

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
  }

  #controller(id: string): Controller | undefined {
    return this.#served.find(({ controller }) => controller.id === id)?.controller
  }

  async start(): Promise<void> {
    const { luns, iothreads, controllers, metricsListen, controlSocket } = this.#config
    for (const lun of luns) this.#luns.set(lun.id, Lun.open(lun))
    // Sockets first: a front end may connect from now on, and waits in the backlog.
    const listeners = controllers.map((controller) => {
      const listener = Listener.open(controller, this.#log)
      this.#opened.push(listener)
      return listener
    })
    if (metricsListen !== undefined) {
      this.#metricsServer = await MetricsServer.listen(
        metricsListen,
        this.#metrics,
        { isReady: () => this.#ready, silentIothreads: () => this.#iothreads.silent() },
        this.#log,
      )
    }
    if (controlSocket !== undefined) this.#controlServer = await this.#listenForControl(controlSocket)
    await this.#iothreads.start(iothreads)
    for (const [i, controller] of controllers.entries()) await this.#serve(controller, listeners[i]!)
    this.#ready = true
    void Promise.all(listeners.map(({ exhausted }) => exhausted)).then(() => this.#finish())
  }

  async #listenForControl(path: string): Promise<ControlServer> {
    const { ControlServer } = await import('./control/server.js')
    const administration = new Administration(
      {
        iothreads: this.#iothreads,
        luns: this.#luns,
        controllers: () =>
          this.#served.map(({ controller, listener, session }) => {
            return { controller, address: listener.address, connected: session !== undefined }
          }),
        ready: () => this.#ready,
      },
      this.#log,
    )
    return ControlServer.listen(path, administration, this.#log)
  }

  async #serve(config: ControllerConfig, listener: Listener): Promise<void> {
    const log = this.#faults.of(config.id)
    const iothreads = config.queueToIothread.map((index) => this.#iothreads.get(this.#config.iothreads[index]!.id)!)
    const luns = config.luns.map(({ id }) => this.#luns.get(id)!)
    const controller = new Controller(config, iothreads, luns, log, {
      fault: (index, code) => this.#faults.mainRingFault(config.id, index, code),
      failed: (error) => this.#fail(error),
    })
    await controller.attach()
    const served: Served = { controller, listener, session: undefined }
    this.#served.push(served)
    listener.start(async (fd) => {
      this.#metrics.countConnection()
      this.#faults.connected(config.id, listener.address)
      served.session = new BackendSession(fd, controller, { report: this.#faults.reporter(config.id) })
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
  }

  async #stopAll(): Promise<void> {
    for (const listener of this.#opened) listener.close()
    await this.#controlServer?.close()
    await this.#metricsServer?.close()
    await Promise.all(Array.from(this.#luns.values(), ({ executor }) => executor.close()))
    await Promise.all(
      this.#served.map(async ({ controller, session }) => {
        await session?.close()
        await controller.detach()
      }),
    )
    await this.#iothreads.stop()
    for (const lun of this.#luns.values()) lun.close()
  }
}
