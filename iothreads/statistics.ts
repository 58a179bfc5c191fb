import { ACTION, DIRECTION, OPCODE, type Task } from '../scsi/index.js'
import { FAULT_CODES } from './faults.js'

/**
 * Counters of one request queue, in shared memory: written by the one IOThread that serves the queue, read by the
 * main thread at scrape time. A Float64 store on an aligned slot is a single machine store, so a reader never sees half
 * of one; a count is exact up to 2^53.
 */

/** The operations that requests are counted by. */
export const OPERATION = { READ: 0, WRITE: 1, FLUSH: 2, UNMAP: 3, OTHER: 4, COUNT: 5 } as const
export const OPERATION_NAMES = ['read', 'write', 'flush', 'unmap', 'other'] as const

/** Fields counted for each (LUN, operation). */
export const FIELD = { REQUESTS: 0, BYTES: 1, ERRORS: 2, COUNT: 3 } as const

/** What a task that was just executed is counted as. */
export function operationOf(task: Task): number {
  switch (task.action) {
    case ACTION.READ:
      return OPERATION.READ
    case ACTION.WRITE:
    case ACTION.WRITE_PATTERN:
      return OPERATION.WRITE
    case ACTION.FLUSH:
      return OPERATION.FLUSH
    case ACTION.DISCARD:
    case ACTION.WRITE_ZEROES:
      return OPERATION.UNMAP
    case ACTION.PROGRAM:
      return programOperation(task)
    default:
      return OPERATION.OTHER
  }
}

function programOperation(task: Task): number {
  const opcode = task.cdb.getUint8(0)
  if (opcode === OPCODE.UNMAP) return OPERATION.UNMAP
  // GET LBA STATUS
  if (opcode === OPCODE.SERVICE_ACTION_IN_16) return OPERATION.OTHER
  if (task.direction === DIRECTION.IN) return OPERATION.READ
  return task.direction === DIRECTION.OUT ? OPERATION.WRITE : OPERATION.OTHER
}

const PER_LUN = OPERATION.COUNT * FIELD.COUNT

/** Queue-wide counters, before the per-LUN ones: what they mean, then one for each of FAULT_CODES. */
export const QUEUE_FIELD = {
  /** Notifications from the driver. */
  KICKS: 0,
  /** Notifications to the driver. */
  CALLS: 1,
  /** Passes over the ring that fetched something. */
  BATCHES: 2,
  /** Requests to a target or logical unit that is not there. */
  TARGETLESS: 3,
  FAULTS: 8,
  COUNT: 8 + FAULT_CODES.length,
} as const

function memoryFor(luns: number): SharedArrayBuffer {
  return new SharedArrayBuffer(8 * (QUEUE_FIELD.COUNT + luns * PER_LUN))
}

export class QueueStatistics {
  memory: SharedArrayBuffer
  values: Float64Array

  /** @param luns as many as the controller ever had; a LUN is named by its place among these */
  constructor(luns: number, memory?: SharedArrayBuffer) {
    this.memory = memory ?? memoryFor(luns)
    this.values = new Float64Array(this.memory)
  }

  /** Makes room for `luns` LUNs: what was counted moves to other memory. Nobody counts meanwhile. */
  grow(luns: number): void {
    const memory = memoryFor(luns)
    if (memory.byteLength <= this.memory.byteLength) return
    const values = new Float64Array(memory)
    values.set(this.values)
    this.memory = memory
    this.values = values
  }

  /** Adds one ended request. */
  count(lun: number, operation: number, bytes: number, failed: boolean): void {
    const values = this.values
    const at = QUEUE_FIELD.COUNT + lun * PER_LUN + operation * FIELD.COUNT
    values[at] = values[at]! + 1
    values[at + FIELD.BYTES] = values[at + FIELD.BYTES]! + bytes
    if (failed) values[at + FIELD.ERRORS] = values[at + FIELD.ERRORS]! + 1
  }

  /** Adds one to a queue-wide counter (QUEUE_FIELD). */
  add(field: number): void {
    this.values[field] = this.values[field]! + 1
  }

  /** Adds one to the counter of a fault (FAULT_CODES). */
  addFault(code: string): void {
    this.add(QUEUE_FIELD.FAULTS + FAULT_CODES.indexOf(code))
  }

  readFault(code: string): number {
    return this.readQueue(QUEUE_FIELD.FAULTS + FAULT_CODES.indexOf(code))
  }

  read(lun: number, operation: number, field: number): number {
    return this.values[QUEUE_FIELD.COUNT + lun * PER_LUN + operation * FIELD.COUNT + field] ?? 0
  }

  readQueue(field: number): number {
    return this.values[field] ?? 0
  }

  /** A FIELD summed over all LUNs, and over all operations or the given ones. */
  total(field: number, operations?: readonly number[]): number {
    let sum = 0
    for (let at = QUEUE_FIELD.COUNT; at < this.values.length; at += FIELD.COUNT) {
      const operation = ((at - QUEUE_FIELD.COUNT) / FIELD.COUNT) % OPERATION.COUNT
      if (operations === undefined || operations.includes(operation)) sum += this.values[at + field]!
    }
    return sum
  }

  /** All faults. */
  get faults(): number {
    return this.values.subarray(QUEUE_FIELD.FAULTS, QUEUE_FIELD.COUNT).reduce((sum, count) => sum + count, 0)
  }
}
