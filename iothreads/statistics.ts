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

const PER_LUN = OPERATION.COUNT * FIELD.COUNT

/** Queue-wide counters, before the per-LUN ones. */
export const QUEUE_FIELD = { KICKS: 0, CALLS: 1, BATCHES: 2, FAULTS: 3, TARGETLESS: 4, COUNT: 8 } as const

export class QueueStatistics {
  readonly memory: SharedArrayBuffer
  readonly values: Float64Array

  /** @param luns the number of LUNs of the controller; a LUN is named by its place in the controller's list */
  constructor(luns: number, memory?: SharedArrayBuffer) {
    this.memory = memory ?? new SharedArrayBuffer(8 * (QUEUE_FIELD.COUNT + luns * PER_LUN))
    this.values = new Float64Array(this.memory)
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

  read(lun: number, operation: number, field: number): number {
    return this.values[QUEUE_FIELD.COUNT + lun * PER_LUN + operation * FIELD.COUNT + field] ?? 0
  }

  readQueue(field: number): number {
    return this.values[field] ?? 0
  }
}
