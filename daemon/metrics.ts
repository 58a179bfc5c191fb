/**
 * What the daemon tells Prometheus. The counters of the request queues are read from shared memory when a scrape comes, so
 * that they cost the IOThreads nothing.
 */
import { Counter, Gauge, Registry } from 'prom-client'
import { FAULT_CODES } from '../iothreads/faults.js'
import { FIELD, OPERATION, OPERATION_NAMES, QUEUE_FIELD, type QueueStatistics } from '../iothreads/statistics.js'
import { THREAD_FIELD, type ThreadStatistics } from '../iothreads/thread-statistics.js'
import type { Heartbeat } from './heartbeats.js'
import { registerProcessMetrics } from './process-metrics.js'

/** A request queue that has counters. */
export interface QueueSource {
  readonly controller: string
  /** Request queue, 0-based. */
  readonly queue: number
  /** Name and kernel thread id of the IOThread that serves it now. */
  readonly iothread: string
  readonly tid: number
  /** LUN ids in the order of the controller's list, which the statistics are indexed by. */
  readonly luns: readonly string[]
  readonly statistics: QueueStatistics
}

/** An IOThread that runs. */
export interface IothreadSource {
  readonly id: string
  /** Kernel thread id. */
  readonly tid: number
  readonly engine: string
  readonly statistics: ThreadStatistics
  readonly heartbeat: Heartbeat
}

export interface StatisticsSource {
  queues(): Iterable<QueueSource>
  iothreads(): Iterable<IothreadSource>
}

/** Kinds of faults told apart; a further one counts as `other`, so that no peer can make the label grow. */
const MAX_FAULT_KINDS = 64
const OTHER_FAULTS = 'other'
const FAULT_KIND = /^[A-Z][A-Z0-9_]{0,63}$/

/** Counters of a whole queue: name, help, field. */
const QUEUE_COUNTERS = [
  ['kicks', 'Wake-ups of the queue by the guest', QUEUE_FIELD.KICKS],
  ['calls', 'Interrupts sent to the guest', QUEUE_FIELD.CALLS],
  ['batches', 'Passes over the available ring that found requests', QUEUE_FIELD.BATCHES],
  ['targetless_requests', 'Requests to a target or logical unit that does not exist', QUEUE_FIELD.TARGETLESS],
] as const

/** Counters of an IOThread: name, help, field. */
const IOTHREAD_COUNTERS = [
  ['requests', 'Requests that an IOThread has fetched, from whichever queue', THREAD_FIELD.REQUESTS],
  ['sleeps', 'Times that an IOThread went to sleep for want of work', THREAD_FIELD.SLEEPS],
  ['polls', 'Times that an IOThread polled before it would go to sleep', THREAD_FIELD.POLLS],
  ['poll_hits', 'Times that it did not go to sleep, because polling found something to do', THREAD_FIELD.POLL_HITS],
] as const

const PER_OPERATION = ['controller', 'queue', 'lun', 'op'] as const

export class Metrics {
  readonly #registry = new Registry()
  readonly #connections: Counter
  /** Faults that the main thread saw, by kind. */
  readonly #faults = new Map<string, number>()

  constructor(source: StatisticsSource, version: string) {
    const registers = [this.#registry]
    registerProcessMetrics(this.#registry)
    new Gauge({
      name: 'vhost_user_scsi_build_info',
      help: 'Versions of the daemon and of Node; always 1',
      labelNames: ['version', 'node'],
      registers,
    }).set({ version, node: process.version }, 1)
    this.#connections = new Counter({
      name: 'vhost_user_scsi_connections_total',
      help: 'Front ends that have connected',
      registers,
    })
    registerFaults(this.#registry, source, this.#faults)
    registerIothreadInfo(this.#registry, source)
    registerIothreadCounters(this.#registry, source)
    registerHeartbeats(this.#registry, source)
    registerQueueInfo(this.#registry, source)
    registerQueueCounters(this.#registry, source)
    registerOperationCounters(this.#registry, source)
  }

  /** A front end has connected. */
  countConnection(): void {
    this.#connections.inc()
  }

  /** A connection or a ring of the main loop has a fault. @param code the error's stable code */
  countFault(code: string): void {
    const known = this.#faults.has(code) || (FAULT_KIND.test(code) && this.#faults.size < MAX_FAULT_KINDS)
    const kind = known ? code : OTHER_FAULTS
    this.#faults.set(kind, (this.#faults.get(kind) ?? 0) + 1)
  }

  get contentType(): string {
    return this.#registry.contentType
  }

  /** Everything, in the text exposition format. */
  text(): Promise<string> {
    return this.#registry.metrics()
  }
}

/** Those that the main thread counted, and those of the request queues, which IOThreads count. */
function registerFaults(registry: Registry, source: StatisticsSource, counted: ReadonlyMap<string, number>): void {
  new Counter({
    name: 'vhost_user_scsi_faults_total',
    help: 'Faults of connections, rings and requests, by code',
    labelNames: ['kind'],
    registers: [registry],
    collect() {
      this.reset()
      for (const [kind, count] of counted) this.inc({ kind }, count)
      const queues = [...source.queues()]
      for (const kind of FAULT_CODES) {
        this.inc(
          { kind },
          queues.reduce((sum, { statistics }) => sum + statistics.readFault(kind), 0),
        )
      }
    },
  })
}

function registerIothreadInfo(registry: Registry, source: StatisticsSource): void {
  new Gauge({
    name: 'vhost_user_scsi_iothread_info',
    help: 'IOThreads, their kernel threads, and how they wait for I/O; always 1',
    labelNames: ['iothread', 'tid', 'engine'],
    registers: [registry],
    collect() {
      this.reset()
      for (const { id, tid, engine } of source.iothreads()) this.set({ iothread: id, tid, engine }, 1)
    },
  })
}

function registerIothreadCounters(registry: Registry, source: StatisticsSource): void {
  for (const [name, help, field] of IOTHREAD_COUNTERS) {
    new Counter({
      name: `vhost_user_scsi_iothread_${name}_total`,
      help,
      labelNames: ['iothread'],
      registers: [registry],
      collect() {
        this.reset()
        for (const { id, statistics } of source.iothreads()) this.inc({ iothread: id }, statistics.read(field))
      },
    })
  }
}

function registerHeartbeats(registry: Registry, source: StatisticsSource): void {
  const labelNames = ['iothread'] as const
  const registers = [registry]
  const counters = [
    ['heartbeats', 'Pokes that an IOThread has answered, one a second', 'answered'],
    ['heartbeats_missed', 'Pokes that an IOThread has not answered within a second', 'missed'],
  ] as const
  for (const [name, help, field] of counters) {
    new Counter({
      name: `vhost_user_scsi_iothread_${name}_total`,
      help,
      labelNames,
      registers,
      collect() {
        this.reset()
        for (const { id, heartbeat } of source.iothreads()) this.inc({ iothread: id }, heartbeat[field])
      },
    })
  }
  new Gauge({
    name: 'vhost_user_scsi_iothread_heartbeat_age_seconds',
    help: 'Seconds since an IOThread was last seen to answer: up to 1 for one that is well',
    labelNames,
    registers,
    collect() {
      this.reset()
      for (const { id, heartbeat } of source.iothreads()) this.set({ iothread: id }, heartbeat.ageSeconds)
    },
  })
}

function registerQueueInfo(registry: Registry, source: StatisticsSource): void {
  new Gauge({
    name: 'vhost_user_scsi_queue_info',
    help: 'Request queues and the IOThreads that serve them; always 1',
    labelNames: ['controller', 'queue', 'iothread', 'tid'],
    registers: [registry],
    collect() {
      this.reset()
      for (const { controller, queue, iothread, tid } of source.queues()) {
        this.set({ controller, queue, iothread, tid }, 1)
      }
    },
  })
}

function registerQueueCounters(registry: Registry, source: StatisticsSource): void {
  for (const [name, help, field] of QUEUE_COUNTERS) {
    new Counter({
      name: `vhost_user_scsi_queue_${name}_total`,
      help,
      labelNames: ['controller', 'queue'],
      registers: [registry],
      collect() {
        this.reset()
        for (const { controller, queue, statistics } of source.queues()) {
          this.inc({ controller, queue }, statistics.readQueue(field))
        }
      },
    })
  }
}

function registerOperationCounters(registry: Registry, source: StatisticsSource): void {
  const operations = OPERATION_NAMES.map((_, operation) => operation)
  const dataOperations = [OPERATION.READ, OPERATION.WRITE]
  registerOperationCounter(registry, source, 'requests', 'Requests that have ended', FIELD.REQUESTS, operations)
  registerOperationCounter(registry, source, 'errors', 'Requests that did not end well', FIELD.ERRORS, operations)
  registerOperationCounter(registry, source, 'bytes', 'Bytes read and written', FIELD.BYTES, dataOperations)
}

function registerOperationCounter(
  registry: Registry,
  source: StatisticsSource,
  name: string,
  help: string,
  field: number,
  operations: readonly number[],
): void {
  new Counter({
    name: `vhost_user_scsi_${name}_total`,
    help,
    labelNames: PER_OPERATION,
    registers: [registry],
    collect() {
      this.reset()
      for (const { controller, queue, luns, statistics } of source.queues()) {
        luns.forEach((lun, place) => {
          for (const operation of operations) {
            const op = OPERATION_NAMES[operation]!
            this.inc({ controller, queue, lun, op }, statistics.read(place, operation, field))
          }
        })
      }
    },
  })
}
