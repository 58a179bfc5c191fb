import { ERRNO, signalEventfd } from 'memfd-mmap'
import { CHAIN_FAULTS, CMD_RESPONSE, type GuestMemory, RESPONSE, type Virtqueue } from 'vhost-user-protocol-ts'
import { ACTION, complete, FLAG, MAX_PARAMETER_BYTES, parameterListLength } from '../scsi/index.js'
import { PENDING } from './block-io.js'
import type { BouncePool } from './bounce-pool.js'
import {
  comparePieces,
  patternPieces,
  type StepContext,
  type Steps,
  transferPieces,
  verifyPieces,
  zeroRange,
} from './composite.js'
import { BIDIRECTIONAL_FAULT, LOG_RANGE_FAULT, LUN_FAULT, RING_INDEX_FAULT } from './faults.js'
import type { Inflight, Takeover } from './inflight.js'
import type { TaskFilter } from './messages.js'
import { CANCEL, type CancelWaiter, type Request } from './request.js'
import { TARGET_NONE } from './request-header.js'
import type { RequestLog } from './request-log.js'
import { READ, READ_FAULTS, type RequestReader } from './request-reader.js'
import type { RequestTable } from './request-table.js'
import type { ResponseWriter } from './response-writer.js'
import { OPERATION, operationOf, QUEUE_FIELD, type QueueStatistics } from './statistics.js'
import { matches, Sweeps } from './sweeps.js'
import { THREAD_FIELD, type ThreadStatistics } from './thread-statistics.js'
import type { UnitBinding } from './unit-binding.js'
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

const { SIZE: RESPONSE_SIZE } = CMD_RESPONSE

/**
 * One request virtqueue: fetches requests, has SCSI decode them, has the driver move the data, and answers. Owned by
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
  readonly #memory: GuestMemory
  readonly #reader: RequestReader
  readonly #recoveryReader: RequestReader
  readonly #writer: ResponseWriter
  readonly #pool: BouncePool
  readonly #log: RequestLog | null
  /** Parameter lists are parsed before anything else is fetched: one buffer serves all requests. */
  readonly #parameters = new Uint8Array(MAX_PARAMETER_BYTES)
  readonly #fault: (code: string, fatal: boolean) => void
  readonly #mediumFault: (unit: number, errno: number) => void
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
    this.#memory = parts.memory
    this.#reader = parts.reader
    this.#recoveryReader = parts.recoveryReader ?? parts.reader
    this.#writer = parts.writer
    this.#pool = parts.pool
    this.#log = parts.log ?? null
    this.#fault = parts.fault
    this.#mediumFault = parts.mediumFault
    this.#inflight = parts.takeover?.inflight ?? null
    this.#takeover = parts.takeover ?? null
    this.#recovered = this.#takeover?.recovered.length ?? 0
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
      else if (!this.#sweeps.active || !this.#swept(request, fetched)) this.#start(request)
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
      else if (!this.#sweeps.active || !this.#swept(request, started)) this.#start(request)
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
    if (request.responseWindow >= 0 || request.scatterCount > 0) this.#respond(request, RESPONSE.FAILURE, 0)
    else this.#push(request, 0)
  }

  #refuse(request: Request, response: number): void {
    request.task.reset()
    this.#respond(request, response, 0)
  }

  #start(request: Request): void {
    const task = request.task
    request.cancel = CANCEL.NONE
    const unit = this.units.find(request.target, request.lun)
    const target = unit === null ? this.units.targetOf(request.target, request.lun) : null
    if (target === undefined) {
      this.#absent(request)
      return
    }
    if (request.outLength > 0 && request.inLength > 0) {
      this.statistics.addFault(BIDIRECTIONAL_FAULT)
      this.#fault(BIDIRECTIONAL_FAULT, false)
      this.#refuse(request, RESPONSE.FAILURE)
      return
    }
    request.unit = unit
    task.dataOutLength = request.outLength
    task.dataInLength = request.inLength
    const parameters = request.outLength === 0 ? 0 : parameterListLength(task)
    if (parameters > 0) this.#gather(request, parameters)
    if (unit !== null) unit.nexus.execute(task)
    else target!.execute(request.lun, task)
    request.operation = operationOf(task)
    if (task.overrun) this.#refuse(request, RESPONSE.OVERRUN)
    else if (task.action === ACTION.DONE) this.#finish(request)
    else if (unit !== null && (task.action === ACTION.READ || task.action === ACTION.WRITE) && task.guestOffset === 0)
      this.#transfer(request, unit)
    else this.#proceed(request, task.program === null ? this.#operate(request) : 0)
  }

  /** READ and WRITE as they usually are: one operation for the whole buffer. */
  #transfer(request: Request, unit: UnitBinding): void {
    const task = request.task
    const length = task.length
    const result = unit.driver.transfer(request, this.table, task.action === ACTION.WRITE)
    if (result !== length) {
      this.#proceed(request, result)
      return
    }
    const inLength = request.inLength
    this.statistics.count(unit.index, request.operation, length, false)
    this.#writer.good(request, request.outLength + inLength - length)
    if (this.#log !== null) this.#log.mark(request)
    if (this.#inflight !== null) this.#inflight.complete(request.noted)
    this.virtqueue.push(request.head, RESPONSE_SIZE + (inLength > 0 ? length : 0))
    this.table.give(request)
  }

  /** Copies the parameter list of a command to private memory: what SCSI checks cannot change afterwards. */
  #gather(request: Request, length: number): void {
    const parameters = this.#parameters
    const segments = this.table.segments
    let at = request.firstSegment
    let done = 0
    while (done < length) {
      const part = Math.min(segments[at + 1]!, length - done)
      this.#memory.copyFromHost(segments[at]!, parameters, done, part)
      done += part
      at += 2
    }
    request.task.parameters = parameters
    request.task.parameterLength = length
  }

  #absent(request: Request): void {
    if (request.target === TARGET_NONE) {
      this.statistics.addFault(LUN_FAULT)
      this.#fault(LUN_FAULT, false)
    }
    this.statistics.add(QUEUE_FIELD.TARGETLESS)
    this.#refuse(request, RESPONSE.BAD_TARGET)
  }

  /** Starts the block operation in the task: its result, or PENDING. */
  #operate(request: Request): number {
    const task = request.task
    const driver = request.unit!.driver
    switch (task.action) {
      case ACTION.READ:
      case ACTION.WRITE:
        if (task.guestOffset !== 0)
          return this.#begin(request, transferPieces(this.#context(request), request, task.action === ACTION.WRITE, 0))
        return driver.transfer(request, this.table, task.action === ACTION.WRITE)
      case ACTION.FLUSH:
        return driver.flush(request)
      case ACTION.DISCARD:
        return this.#begin(request, zeroRange(this.#context(request), request, true))
      case ACTION.WRITE_ZEROES:
        return this.#begin(request, zeroRange(this.#context(request), request, task.mayUnmap))
      case ACTION.WRITE_PATTERN:
        return this.#begin(request, patternPieces(this.#context(request), request))
      case ACTION.COMPARE:
        return this.#begin(request, comparePieces(this.#context(request), request))
      default:
        return this.#begin(request, verifyPieces(this.#context(request), request))
    }
  }

  #context(request: Request): StepContext {
    return { driver: request.unit!.driver, table: this.table, pool: this.#pool }
  }

  #begin(request: Request, steps: Steps): number {
    request.steps = steps
    return this.#step(request, 0)
  }

  #step(request: Request, value: number): number {
    const next = request.steps!.next(value)
    if (!next.done) return PENDING
    request.steps = null
    return next.value
  }

  /** The I/O that the request waited for has ended. */
  completed(request: Request, result: number): void {
    if (request.cancel !== CANCEL.NONE) {
      // A flush that was taken back has not failed; one that has is remembered, whoever hears of it.
      const failed = result < 0 && result !== -ERRNO.ECANCELED && result !== -ERRNO.EINTR
      if (failed && request.task.action === ACTION.FLUSH) this.#flushFailed(request, result)
      this.#cancelled(request)
    } else this.#proceed(request, request.steps === null ? result : this.#step(request, result))
  }

  /**
   * A block operation of the task has ended with `result`: goes on until one is pending or the request is answered. A
   * loop, for a program may have any number of operations that end at once.
   */
  #proceed(request: Request, result: number): void {
    const task = request.task
    while (result !== PENDING) {
      if (result < 0 && task.action === ACTION.FLUSH) this.#flushFailed(request, result)
      if (result >= 0 && result < task.length && (task.action === ACTION.READ || task.action === ACTION.WRITE)) {
        // The kernel moved a part only.
        const isWrite = task.action === ACTION.WRITE
        result = this.#begin(request, transferPieces(this.#context(request), request, isWrite, result))
      } else if (task.program === null) {
        complete(task, result)
        this.#finish(request)
        return
      } else if (task.program.next(result).done) {
        task.program = null
        this.#finish(request)
        return
      } else {
        result = this.#operate(request)
      }
    }
  }

  /** What was acknowledged may be lost: nobody may be told again that it is safe (SBC-3 4.22, and Linux drops the pages). */
  #flushFailed(request: Request, result: number): void {
    request.unit!.nexus.unit.state.set(FLAG.WRITE_FAULT)
    this.#mediumFault(request.unit!.index, -result)
  }

  /** Answers a request whose task is done. */
  #finish(request: Request): void {
    const task = request.task
    let moved = task.transferLength
    if (task.dataInCount > 0) {
      moved = task.dataInCount
      this.#giveData(request)
    }
    const unit = request.unit
    if (unit !== null) this.statistics.count(unit.index, request.operation, moved, task.status !== 0)
    this.#respond(request, RESPONSE.OK, moved)
  }

  /** Copies the data-in of an immediate command to the guest's buffers. */
  #giveData(request: Request): void {
    const { dataIn, dataInCount } = request.task
    const segments = this.table.segments
    let at = request.firstSegment + 2 * request.outSegments
    let done = 0
    while (done < dataInCount) {
      const part = Math.min(segments[at + 1]!, dataInCount - done)
      this.#memory.copyToHost(segments[at]!, dataIn, done, part)
      done += part
      at += 2
    }
  }

  #respond(request: Request, response: number, moved: number): void {
    const task = request.task
    const residual = request.outLength + request.inLength - moved
    this.#writer.write(request, response, task.status, task.senseLength, residual)
    this.#push(request, CMD_RESPONSE.SIZE + (request.inLength > 0 ? moved : 0))
  }

  #push(request: Request, length: number): void {
    if (this.#log !== null) this.#log.mark(request)
    if (this.#inflight !== null) this.#inflight.complete(request.noted)
    this.virtqueue.push(request.head, length)
    this.table.give(request)
  }

  #cancelled(request: Request): void {
    request.steps?.return(0)
    request.steps = null
    request.task.program?.return()
    const response = request.cancel === CANCEL.RESET ? RESPONSE.RESET : RESPONSE.ABORTED
    if (request.unit !== null) this.statistics.count(request.unit.index, request.operation, 0, true)
    this.#refuse(request, response)
    if (request.waiters !== null) {
      for (const waiter of request.waiters) waiter.remaining--
      request.waiters = null
    }
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
    this.#cancelled(request)
    return true
  }
}
