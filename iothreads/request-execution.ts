import { ERRNO } from 'memfd-mmap'
import { CMD_RESPONSE, type GuestMemory, RESPONSE, type Virtqueue } from 'vhost-user-protocol-ts'
import {
  ACTION,
  complete,
  FLAG,
  MAX_PARAMETER_BYTES,
  parameterListLength,
  SENSE,
  type TaskAnswer,
} from '../scsi/index.js'
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
import { BIDIRECTIONAL_FAULT, LUN_FAULT } from './faults.js'
import type { Concluding, Forwarding } from './forwarding.js'
import type { Inflight } from './inflight.js'
import { compareAndWritePieces, orWritePieces } from './read-modify-write.js'
import { CANCEL, type Request } from './request.js'
import { TARGET_NONE } from './request-header.js'
import type { RequestLog } from './request-log.js'
import type { RequestTable } from './request-table.js'
import type { ResponseWriter } from './response-writer.js'
import { OPERATION, operationOf, QUEUE_FIELD, type QueueStatistics } from './statistics.js'
import type { UnitBinding } from './unit-binding.js'
import type { UnitMap } from './unit-map.js'

/** What requests are executed with, and answered to. */
export interface RequestExecutionParts {
  virtqueue: Virtqueue
  memory: GuestMemory
  table: RequestTable
  writer: ResponseWriter
  units: UnitMap
  pool: BouncePool
  statistics: QueueStatistics
  /** For what the main thread executes. */
  forwarding: Forwarding
  /** The dirty log of a migration; null: nothing is logged. */
  log: RequestLog | null
  /** Who notes what is in flight; null: nobody. */
  inflight: Inflight | null
  /** Tells of a fault that the guest caused. */
  fault: (code: string, fatal: boolean) => void
  /** Tells that a flush of a unit (its place in the controller's list) has failed with `errno`. */
  mediumFault: (unit: number, errno: number) => void
}

const { SIZE: RESPONSE_SIZE } = CMD_RESPONSE

/** Actions that the kernel may do a part of. */
const MOVES: ReadonlySet<number> = new Set([ACTION.READ, ACTION.WRITE, ACTION.WRITE_ATOMIC])

/** What happens to a queue's request between its fetch and its answer: SCSI decodes it, the driver moves the data. */
export class RequestExecution implements Concluding {
  readonly #virtqueue: Virtqueue
  readonly #memory: GuestMemory
  readonly #table: RequestTable
  readonly #writer: ResponseWriter
  readonly #units: UnitMap
  readonly #pool: BouncePool
  readonly #statistics: QueueStatistics
  readonly #forwarding: Forwarding
  readonly #log: RequestLog | null
  readonly #inflight: Inflight | null
  /** Parameter lists are parsed before anything else is fetched: one buffer serves all requests. */
  readonly #parameters = new Uint8Array(MAX_PARAMETER_BYTES)
  readonly #fault: (code: string, fatal: boolean) => void
  readonly #mediumFault: (unit: number, errno: number) => void

  constructor(parts: RequestExecutionParts) {
    this.#virtqueue = parts.virtqueue
    this.#memory = parts.memory
    this.#table = parts.table
    this.#writer = parts.writer
    this.#units = parts.units
    this.#pool = parts.pool
    this.#statistics = parts.statistics
    this.#forwarding = parts.forwarding
    this.#log = parts.log
    this.#inflight = parts.inflight
    this.#fault = parts.fault
    this.#mediumFault = parts.mediumFault
  }

  #refuse(request: Request, response: number): void {
    request.task.reset()
    this.respond(request, response, 0)
  }

  /** Executes a request that has just been read. */
  start(request: Request): void {
    const task = request.task
    request.cancel = CANCEL.NONE
    const unit = this.#units.find(request.target, request.lun)
    const target = unit === null ? this.#units.targetOf(request.target, request.lun) : null
    if (target === undefined) {
      this.#absent(request)
      return
    }
    if (request.outLength > 0 && request.inLength > 0) {
      this.#statistics.addFault(BIDIRECTIONAL_FAULT)
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
    if (!unit.gate.admits(request)) return
    const task = request.task
    const length = task.length
    const result = unit.driver.transfer(request, this.#table, task.action === ACTION.WRITE)
    if (result !== length) {
      this.#proceed(request, result)
      return
    }
    if (request.stripes !== 0) unit.gate.leave(request)
    const inLength = request.inLength
    this.#statistics.count(unit.index, request.operation, length, false)
    this.#writer.good(request, request.outLength + inLength - length)
    if (this.#log !== null) this.#log.mark(request)
    if (this.#inflight !== null) this.#inflight.complete(request.noted)
    this.#virtqueue.push(request.head, RESPONSE_SIZE + (inLength > 0 ? length : 0))
    this.#table.give(request)
  }

  /** Copies the parameter list of a command to private memory: what SCSI checks cannot change afterwards. */
  #gather(request: Request, length: number): void {
    const parameters = this.#parameters
    const segments = this.#table.segments
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
      this.#statistics.addFault(LUN_FAULT)
      this.#fault(LUN_FAULT, false)
    }
    this.#statistics.add(QUEUE_FIELD.TARGETLESS)
    this.#refuse(request, RESPONSE.BAD_TARGET)
  }

  /** Starts the block operation in the task, or has it wait at the gate: its result, or PENDING. */
  #operate(request: Request): number {
    return request.unit!.gate.admits(request) ? this.#perform(request) : PENDING
  }

  /** The gate lets the request's operation pass, which had to wait. */
  admitted(request: Request): void {
    this.#proceed(request, this.#perform(request))
  }

  /** The operation itself. */
  #perform(request: Request): number {
    const task = request.task
    const driver = request.unit!.driver
    switch (task.action) {
      case ACTION.READ:
      case ACTION.WRITE:
        if (task.guestOffset !== 0)
          return this.#begin(request, transferPieces(this.#context(request), request, task.action === ACTION.WRITE, 0))
        return driver.transfer(request, this.#table, task.action === ACTION.WRITE)
      case ACTION.FLUSH:
        return driver.flush(request)
      case ACTION.DISCARD:
        return this.#begin(request, zeroRange(this.#context(request), request, true))
      case ACTION.WRITE_ZEROES:
        return this.#begin(request, zeroRange(this.#context(request), request, task.mayUnmap))
      case ACTION.WRITE_PATTERN:
        return this.#begin(request, patternPieces(this.#context(request), request))
      case ACTION.COMPARE_AND_WRITE:
        return this.#begin(request, compareAndWritePieces(this.#context(request), request))
      case ACTION.OR_WRITE:
        return this.#begin(request, orWritePieces(this.#context(request), request))
      case ACTION.WRITE_ATOMIC:
        return driver.transfer(request, this.#table, true)
      case ACTION.FORWARD:
        return this.#forwarding.forward(this, request)
      case ACTION.COMPARE:
        return this.#begin(request, comparePieces(this.#context(request), request))
      case ACTION.PREFETCH:
        return driver.prefetch(request, task.offset, task.length)
      case ACTION.FIND_HOLE:
      case ACTION.FIND_DATA:
        return driver.extent(task.offset, task.length, task.action === ACTION.FIND_DATA)
      default:
        return this.#begin(request, verifyPieces(this.#context(request), request))
    }
  }

  #context(request: Request): StepContext {
    return { driver: request.unit!.driver, table: this.#table, pool: this.#pool }
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
      this.cancelled(request)
    } else this.#proceed(request, request.steps === null ? result : this.#step(request, result))
  }

  /** The main thread has executed the request's command. */
  concluded(request: Request, answer: TaskAnswer): void {
    if (request.cancel !== CANCEL.NONE) {
      this.cancelled(request)
      return
    }
    request.task.conclude(answer)
    if (answer.overrun) this.#refuse(request, RESPONSE.OVERRUN)
    else this.#finish(request)
  }

  /** Has the server of a forwarded request that has been cancelled end it early; nothing happens if it is not forwarded. */
  recall(request: Request): void {
    if (request.ticket !== 0) this.#forwarding.recall(request)
  }

  /**
   * Executes again what another process may have executed already; where that could make a difference, the initiator hears that it was
   * aborted (SAM-5 does not know such a device; of what SPC-4 has, COMMANDS CLEARED BY DEVICE SERVER says it best).
   */
  startAgain(request: Request): void {
    const unit = this.#units.find(request.target, request.lun)
    const task = request.task
    if (unit === null || unit.nexus.unit.commands.find(task.cdbBytes).repeatable) {
      this.start(request)
      return
    }
    request.cancel = CANCEL.NONE
    request.unit = unit
    request.operation = OPERATION.OTHER
    task.reset()
    task.descriptorSense = (unit.nexus.unit.state.flags & FLAG.DESCRIPTOR_SENSE) !== 0
    task.fail(SENSE.COMMANDS_CLEARED_BY_DEVICE_SERVER)
    this.#finish(request)
  }

  /**
   * A block operation of the task has ended with `result`: goes on until one is pending or the request is answered. A
   * loop, for a program may have any number of operations that end at once.
   */
  #proceed(request: Request, result: number): void {
    const task = request.task
    while (result !== PENDING) {
      if (result < 0 && task.action === ACTION.FLUSH) this.#flushFailed(request, result)
      if (result >= 0 && result < task.length && MOVES.has(task.action)) {
        // The kernel moved a part only.
        const isWrite = task.action !== ACTION.READ
        result = this.#begin(request, transferPieces(this.#context(request), request, isWrite, result))
        continue
      }
      if (request.stripes !== 0) request.unit!.gate.leave(request)
      if (task.program === null) {
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
    if (unit !== null) this.#statistics.count(unit.index, request.operation, moved, task.status !== 0)
    this.respond(request, RESPONSE.OK, moved)
  }

  /** Copies the data-in of an immediate command to the guest's buffers. */
  #giveData(request: Request): void {
    const { dataIn, dataInCount } = request.task
    const segments = this.#table.segments
    let at = request.firstSegment + 2 * request.outSegments
    let done = 0
    while (done < dataInCount) {
      const part = Math.min(segments[at + 1]!, dataInCount - done)
      this.#memory.copyToHost(segments[at]!, dataIn, done, part)
      done += part
      at += 2
    }
  }

  /** Answers with `response` a request that moved `moved` bytes. */
  respond(request: Request, response: number, moved: number): void {
    const task = request.task
    const residual = request.outLength + request.inLength - moved
    this.#writer.write(request, response, task.status, task.senseLength, residual)
    this.push(request, CMD_RESPONSE.SIZE + (request.inLength > 0 ? moved : 0))
  }

  /** Gives a chain back, `length` bytes of it written. */
  push(request: Request, length: number): void {
    if (this.#log !== null) this.#log.mark(request)
    if (this.#inflight !== null) this.#inflight.complete(request.noted)
    this.#virtqueue.push(request.head, length)
    this.#table.give(request)
    if (request.waiters !== null) release(request)
  }

  /** Answers a request that was taken away from its initiator. */
  cancelled(request: Request): void {
    request.steps?.return(0)
    request.steps = null
    request.task.program?.return()
    if (request.stripes !== 0) request.unit!.gate.leave(request)
    const response = request.cancel === CANCEL.RESET ? RESPONSE.RESET : RESPONSE.ABORTED
    if (request.unit !== null) this.#statistics.count(request.unit.index, request.operation, 0, true)
    this.#refuse(request, response)
  }
}

/** Tells those who wait for the end of a request. */
function release(request: Request): void {
  for (const waiter of request.waiters!) waiter.remaining--
  request.waiters = null
}
