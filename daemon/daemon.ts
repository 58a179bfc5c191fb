/** The running daemon: IOThreads, LUNs, controllers and their sockets, and the order in which they come and go. */
import { errnoName } from 'memfd-mmap'
import { BackendSession, type ReportLevel, type SessionReporter } from 'vhost-user-protocol-ts'
import type { MediumFault, RingFault } from '../iothreads/index.js'
import { Controller } from './controller.js'
import type { ControllerConfig, DaemonConfig } from './daemon-config.js'
import { errorReason } from './errors.js'
import { IothreadPool } from './iothread-pool.js'
import { Listener } from './listener.js'
import type { Log } from './log.js'
import { Lun } from './lun.js'
import { Metrics, type QueueSource } from './metrics.js'
import { MetricsServer } from './metrics-server.js'
import { RateLimit } from './rate-limit.js'
import type { RunningDaemon } from './run.js'
import { daemonVersion } from './version.js'

interface Served {
  readonly controller: Controller
  readonly listener: Listener
  session: BackendSession | undefined
}

/** The log of one controller, whose guest cannot flood it, nor silence what is said of other guests. */
interface ControllerLog {
  readonly log: Log
  readonly limit: RateLimit
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
  readonly #logs = new Map<string, ControllerLog>()
  #metricsServer: MetricsServer | undefined
  #ready = false
  #finish: () => void = () => {}
  #fail: (error: unknown) => void = () => {}

  constructor(config: DaemonConfig, log: Log) {
    this.#config = config
    this.#log = log
    this.#iothreads = new IothreadPool(
      {
        fault: (fault) => this.#ringFault(fault),
        mediumFault: (fault) => this.#mediumFault(fault),
        failed: (error) => this.#fail(error),
      },
      log,
    )
    this.#metrics = new Metrics(
      { queues: () => this.#queues(), iothreads: () => this.#iothreads.list() },
      daemonVersion(),
    )
    this.finished = new Promise((resolve, reject) => {
      this.#finish = resolve
      this.#fail = reject
    })
    this.finished.catch(() => {})
  }

  async start(): Promise<void> {
    const { luns, iothreads, controllers, metricsListen } = this.#config
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
    await this.#iothreads.start(iothreads)
    for (const [i, controller] of controllers.entries()) await this.#serve(controller, listeners[i]!)
    this.#ready = true
    void Promise.all(listeners.map(({ exhausted }) => exhausted)).then(() => this.#finish())
  }

  async #serve(config: ControllerConfig, listener: Listener): Promise<void> {
    const { log } = this.#logOf(config.id)
    const iothreads = config.queueToIothread.map((index) => this.#iothreads.get(this.#config.iothreads[index]!.id)!)
    const luns = config.luns.map(({ id }) => this.#luns.get(id)!)
    const controller = new Controller(config, iothreads, luns, log, {
      fault: (index, code) => {
        this.#metrics.countFault(code)
        this.#ringFault({ controller: config.id, index, code, fatal: true, suppressed: 0 })
      },
      failed: (error) => this.#fail(error),
    })
    await controller.attach()
    const served: Served = { controller, listener, session: undefined }
    this.#served.push(served)
    listener.start(async (fd) => {
      this.#metrics.countConnection()
      log.info(`front end connected on ${listener.address}`)
      served.session = new BackendSession(fd, controller, { report: this.#reporter(config.id) })
      await served.session.closed
      served.session = undefined
    })
  }

  #logOf(controller: string): ControllerLog {
    let found = this.#logs.get(controller)
    if (found === undefined) {
      found = { log: this.#log.child({ controller }), limit: new RateLimit() }
      this.#logs.set(controller, found)
    }
    return found
  }

  #reporter(controller: string): SessionReporter {
    const { log, limit } = this.#logOf(controller)
    return {
      event: (level: ReportLevel, code, message, fields) => {
        if (level === 'warn' || level === 'error') this.#metrics.countFault(code)
        // What ends a connection is an error: as rare as connections are, and always said.
        if (level === 'warn') limit.run((suppressed) => log.warn({ code, ...fields, suppressed }, message))
        else log[level]({ code, ...fields }, message)
      },
    }
  }

  #ringFault({ controller, index, code, fatal, suppressed }: RingFault): void {
    const { log, limit } = this.#logOf(controller)
    limit.run((more) => {
      const what = fatal ? 'the ring is broken and stays dead until it is set up anew' : 'a bad request was turned away'
      log.warn({ ring: index, code, suppressed: suppressed + more }, `ring ${index}: ${what}`)
    })
  }

  #mediumFault({ controller, unit, errno }: MediumFault): void {
    const id = this.#config.controllers.find(({ id }) => id === controller)?.luns[unit]?.id
    const reason = errorReason({ code: errnoName(errno) })
    this.#metrics.countFault('VUS_FLUSH_FAILED')
    const { log, limit } = this.#logOf(controller)
    limit.run((suppressed) => {
      log.error(
        { lun: id, code: 'VUS_FLUSH_FAILED', suppressed },
        `lun "${id}": a flush failed (${reason}), what was written may be lost: writes and flushes end with MEDIUM ERROR until the daemon is started anew`,
      )
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
    await this.#metricsServer?.close()
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
