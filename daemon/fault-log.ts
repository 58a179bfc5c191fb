/** What guests and front ends do wrong, and what their disks suffer, as log lines and counts. */
import { errnoName } from 'memfd-mmap'
import type { ReportLevel, SessionReporter } from 'vhost-user-protocol-ts'
import { LOG_RANGE_FAULT, type MediumFault, type RingFault } from '../iothreads/index.js'
import { errorReason } from './errors.js'
import type { Log } from './log.js'
import type { Metrics } from './metrics.js'
import { RateLimit } from './rate-limit.js'

/** The log of one controller, whose guest cannot flood it, nor silence what is said of other guests. */
interface ControllerLog {
  readonly log: Log
  readonly limit: RateLimit
  /** Of lines on connections that come and go. */
  readonly connections: RateLimit
}

/** A front end can connect a thousand times a second: so many lines on connections at once, then one a second. */
const CONNECTION_LINES = 100

export class FaultLog {
  readonly #log: Log
  readonly #metrics: Pick<Metrics, 'countFault'>
  readonly #lunAt: (controller: string, place: number) => string | undefined
  readonly #logs = new Map<string, ControllerLog>()

  /** @param lunAt the id of a controller's LUN by its place in the statistics */
  constructor(
    log: Log,
    metrics: Pick<Metrics, 'countFault'>,
    lunAt: (controller: string, place: number) => string | undefined,
  ) {
    this.#log = log
    this.#metrics = metrics
    this.#lunAt = lunAt
  }

  /** The log for all that concerns one controller. */
  of(controller: string): Log {
    return this.#of(controller).log
  }

  #of(controller: string): ControllerLog {
    let found = this.#logs.get(controller)
    if (found === undefined) {
      found = {
        log: this.#log.child({ controller }),
        limit: new RateLimit(),
        connections: new RateLimit(CONNECTION_LINES),
      }
      this.#logs.set(controller, found)
    }
    return found
  }

  /** A front end has connected. */
  connected(controller: string, address: string): void {
    const { log, connections } = this.#of(controller)
    connections.run((suppressed) => log.info({ suppressed }, `front end connected on ${address}`))
  }

  /** Takes the reports of a controller's vhost-user sessions. */
  reporter(controller: string): SessionReporter {
    const { log, limit, connections } = this.#of(controller)
    return {
      event: (level: ReportLevel, code, message, fields) => {
        if (level === 'warn' || level === 'error') this.#metrics.countFault(code)
        // What is info or an error ends a connection: no flood of other faults keeps that from being said.
        if (level === 'debug') log.debug({ code, ...fields }, message)
        else if (level === 'warn') limit.run((suppressed) => log.warn({ code, ...fields, suppressed }, message))
        else connections.run((suppressed) => log[level]({ code, ...fields, suppressed }, message))
      },
    }
  }

  /** A fault in a ring of the main loop. IOThreads count those of theirs. */
  mainRingFault(controller: string, index: number, code: string): void {
    this.#metrics.countFault(code)
    this.ringFault({ controller, index, code, fatal: code !== LOG_RANGE_FAULT, suppressed: 0 })
  }

  ringFault({ controller, index, code, fatal, suppressed }: RingFault): void {
    const { log, limit } = this.#of(controller)
    limit.run((more) => {
      log.warn({ ring: index, code, suppressed: suppressed + more }, `ring ${index}: ${consequence(code, fatal)}`)
    })
  }

  mediumFault({ controller, unit, errno }: MediumFault): void {
    const id = this.#lunAt(controller, unit)
    const reason = errorReason({ code: errnoName(errno) })
    this.#metrics.countFault('VUS_FLUSH_FAILED')
    const { log, limit } = this.#of(controller)
    limit.run((suppressed) => {
      log.error(
        { lun: id, code: 'VUS_FLUSH_FAILED', suppressed },
        `lun "${id}": a flush failed (${reason}), what was written may be lost: writes and flushes end with MEDIUM ERROR ` +
          `until the daemon is started anew, or "ctl lun-clear-fault ${id}"`,
      )
    })
  }
}

function consequence(code: string, fatal: boolean): string {
  if (fatal) return 'the ring is broken and stays dead until it is set up anew'
  if (code === LOG_RANGE_FAULT) return 'guest memory was written that the dirty log of the migration has no bit for'
  return 'a bad request was turned away'
}
