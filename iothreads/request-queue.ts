import { signalEventfd } from 'memfd-mmap'
import { CHAIN_FAULTS, type GuestMemory, RESPONSE, type Virtqueue } from 'vhost-user-protocol-ts'
import type { BouncePool } from './bounce-pool.js'
import { LOG_RANGE_FAULT, RING_INDEX_FAULT } from './faults.js'
import type { Forwarding } from './forwarding.js'
import type { Inflight, Takeover } from './inflight.js'
import type { TaskFilter } from './messages.js'
import type { CancelWaiter, Request } from './request.js'
import { RequestExecution } from './request-execution.js'
import type { RequestLog } from './request-log.js'
import { READ, READ_FAULTS, type RequestReader } from './request-reader.js'
import type { RequestTable } from './request-table.js'
import type { ResponseWriter } from './response-writer.js'
import { OPERATION, QUEUE_FIELD, type QueueStatistics } from './statistics.js'
import { matches, Sweeps } from './sweeps.js'
import { THREAD_FIELD, type ThreadStatistics } from './thread-statistics.js'
import type { UnitMap } from './unit-map.js'

export interface RequestQueueParts {
  /** Number of the queue in its IOThread. */
  slot: number
  virtqueue: Virtqueue
  memory: GuestMemory
  table: RequestTable
  reader: RequestReader
  /** Reads what the predecessor had in flight; absent or null: there was none. */
  recoveryReader?: RequestReader | null
  writer: ResponseWriter
  units: UnitMap
  pool: BouncePool
  statistics: QueueStatistics
  /** Of the IOThread. */
  threadStatistics: ThreadStatistics
  /** For what the main thread executes. */
  forwarding: Forwarding
  callFd: number
  errFd: number
  /** The dirty log of a migration; absent or null: nothing is logged. */
  log?: RequestLog | null
  /** Who notes what is in flight; the virtqueue goes on where it says. Absent or null: nobody. */
  takeover?: Takeover | null
  /** Tells of a fault that the guest caused, for the log; rate limited by whoever listens. */
  fault: (code: string, fatal: boolean) => void
  /** Tells that a flush of a unit (its place in the controller's list) has failed with `errno`. */
  mediumFault: (unit: number, errno: number) => void
}

/**
 * One request virtqueue: fetches requests, has them executed, and shows their answers to the driver. Owned by
 * exactly one IOThread at a time; nothing here is shared but the ring itself.
 */
export class RequestQueue {
  readonly slot: number
  readonly table: RequestTable
  readonly virtqueue: Virtqueue
  readonly units: UnitMap
  readonly statistics: QueueStatistics
  readonly #threadStatistics: ThreadStatistics
  callFd: number
  errFd: number
  /** False: nothing is fetched (being stopped, or broken). */
  fetching = true
  /** The ring holds something that cannot be answered; it stays dead until the front end sets it up anew. */
  broken = false
  /** What happens to requests once they have been read. */
  readonly execution: RequestExecution
  readonly #reader: RequestReader
  readonly #recoveryReader: RequestReader
  readonly #log: RequestLog | null
  readonly #fault: (code: string, fatal: boolean) => void
  readonly #sweeps = new Sweeps()
  readonly #inflight: Inflight | null
  readonly #takeover: Takeover | null
  /** How many requests the predecessor left, and how many of them were started again. */
  #recovered: number
  #resumed = 0

  constructor(parts: RequestQueueParts) {
    this.slot = parts.slot
    this.virtqueue = parts.virtqueue
    this.table = parts.table
    this.units = parts.units
    this.statistics = parts.statistics
    this.#threadStatistics = parts.threadStatistics
    this.callFd = parts.callFd
    this.errFd = parts.errFd
    this.#reader = parts.reader
    this.#recoveryReader = parts.recoveryReader ?? parts.reader
    this.#log = parts.log ?? null
    this.#fault = parts.fault
    this.#inflight = parts.takeover?.inflight ?? null
    this.#takeover = parts.takeover ?? null
    this.#recovered = this.#takeover?.recovered.length ?? 0
    this.execution = new RequestExecution({ ...parts, log: this.#log, inflight: this.#inflight })
  }

  /** Requests fetched and not answered, by this queue or its predecessor. */
  get busy(): number {
    return this.table.busy + this.#unresumed
  }

  /** The predecessor's requests that still have to be started again: before any other, also when nothing is fetched any more. */
  get #unresumed(): number {
    return this.#recovered - this.#resumed
  }

  /** Fetches and starts what the driver has made available; how many. */
  drain(): number {
    const resumed = this.#resumed < this.#recovered ? this.#resume() : 0
    if (!this.fetching || this.#resumed < this.#recovered) return resumed
    const virtqueue = this.virtqueue
    // What a sweep answers gives its place in the table back at once.
    const count = virtqueue.available(this.#sweeps.active ? undefined : this.table.free)
    if (count === 0) return resumed
    if (count < 0) {
      this.#break(RING_INDEX_FAULT)
      return resumed
    }
    const inflight = this.#inflight
    let fetched = 0
    while (fetched < count && this.fetching) {
      const request = this.table.take()
      // All in use: the rest stays in the ring until one is answered.
      if (request === null) break
      fetched++
      const position = virtqueue.fetch()
      const outcome = this.#reader.read(position, request)
      if (outcome >= 0) {
        virtqueue.advance(request.head)
        if (inflight !== null) request.noted = inflight.fetch(position, request.head)
        if (request.noted < 0) {
          // More is in flight than the ring has: the driver changed a chain while it was read.
          this.#abandon(request, RING_INDEX_FAULT)
          break
        }
      }
      if (outcome !== READ.OK) this.#reject(request, outcome)
      else if (!this.#sweeps.active || !this.#swept(request, fetched)) this.execution.start(request)
    }
    if (fetched > 0) this.#begun(fetched)
    return resumed + fetched
  }

  #begun(count: number): void {
    this.statistics.add(QUEUE_FIELD.BATCHES)
    this.#threadStatistics.add(THREAD_FIELD.REQUESTS, count)
    this.#sweeps.passed(count)
  }

  /** Starts again what the predecessor had in flight, as far as there is room for it; how many. It is noted already. */
  #resume(): number {
    const { recovered, locate } = this.#takeover!
    let started = 0
    while (this.#resumed < this.#recovered) {
      const request = this.table.take()
      if (request === null) break
      started++
      request.noted = recovered[this.#resumed++]!
      const outcome = this.#recoveryReader.read(locate(request.noted), request)
      if (outcome < 0) {
        this.table.give(request)
        this.#break(CHAIN_FAULTS[outcome]!)
      } else if (outcome !== READ.OK) this.#reject(request, outcome)
      else if (!this.#sweeps.active || !this.#swept(request, started)) this.execution.startAgain(request)
    }
    if (started > 0) this.#begun(started)
    return started
  }

  /** Asks the driver for notifications before a sleep. True: there is something to fetch, do not sleep. */
  arm(): boolean {
    if (this.#resumed < this.#recovered) return this.table.free > 0
    return this.fetching && this.virtqueue.enableNotifications() && this.table.free > 0
  }

  /** For polling: whether a `drain` would fetch something. */
  hasWork(): boolean {
    if (this.table.free === 0) return false
    return this.#resumed < this.#recovered || (this.fetching && this.virtqueue.hasAvailable())
  }

  /** Shows finished requests to the driver, and notifies it if it wants that. */
  publish(): void {
    if (this.virtqueue.unpublished && this.#publishes()) this.#call()
    if (this.#log?.hasMissed()) {
      this.statistics.addFault(LOG_RANGE_FAULT)
      this.#fault(LOG_RANGE_FAULT, false)
    }
  }

  #publishes(): boolean {
    const inflight = this.#inflight
    if (inflight === null) return this.virtqueue.publish()
    inflight.beforePublish()
    const wanted = this.virtqueue.publish()
    inflight.afterPublish()
    return wanted
  }

  #call(): void {
    if (this.callFd < 0) return
    this.statistics.add(QUEUE_FIELD.CALLS)
    signalEventfd(this.callFd)
  }

  /** Nothing is fetched from now on. */
  stopFetching(): void {
    this.fetching = false
    this.#sweeps.end(this.#unresumed)
  }

  #break(code: string): void {
    this.broken = true
    // What was not started again stays noted.
    this.#recovered = this.#resumed
    this.stopFetching()
    this.statistics.addFault(code)
    if (this.errFd >= 0) signalEventfd(this.errFd)
    this.#fault(code, true)
  }

  /** Breaks the ring at the chain that was fetched last. */
  #abandon(request: Request, code: string): void {
    this.table.give(request)
    this.virtqueue.unfetch()
    this.#break(code)
  }

  /** A chain that is no request, or one that cannot be served. */
  #reject(request: Request, outcome: number): void {
    if (outcome < 0) {
      // The chain's end is unknown: it is not given back (virtio 1.3 2.1.2: the device needs a reset).
      this.#abandon(request, CHAIN_FAULTS[outcome]!)
      return
    }
    const code = READ_FAULTS[outcome]!
    this.statistics.addFault(code)
    this.#fault(code, false)
    request.task.reset()
    request.unit = null
    if (request.responseWindow >= 0 || request.scatterCount > 0) this.execution.respond(request, RESPONSE.FAILURE, 0)
    else this.execution.push(request, 0)
  }

  /** The requests in flight that a function is for. */
  matching(filter: TaskFilter): Request[] {
    return this.table.requests.filter((request) => request.active && matches(request, filter))
  }

  /**
   * Answers what is in the ring and matches without starting it, as it is fetched: now, or when requests become free.
   * `waiter` counts them, and waits for the ring's part to be fetched.
   */
  sweep(filter: TaskFilter, reason: number, waiter: CancelWaiter): void {
    const left = this.#unresumed + (this.fetching ? Math.max(0, this.virtqueue.available()) : 0)
    if (left === 0) return
    this.#sweeps.add(filter, reason, waiter, left)
    this.drain()
  }

  /** Whether the request, which is the chain number `position` of this pass, has been answered by a sweep. */
  #swept(request: Request, position: number): boolean {
    const reason = this.#sweeps.match(request, position)
    if (reason === undefined) return false
    request.cancel = reason
    request.unit = this.units.find(request.target, request.lun)
    request.operation = OPERATION.OTHER
    this.execution.cancelled(request)
    return true
  }
}
