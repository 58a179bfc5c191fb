import type { DelayLine } from '../delay-line.js'
import type { Request } from '../request.js'
import type { RequestTable } from '../request-table.js'

/**
 * A block driver in one IOThread: runs the block operation that `request.task` asks for (ACTION READ to VERIFY), with
 * the data segments that `request` holds. Answers the result at once (bytes moved or 0, or -errno), or PENDING.
 *
 * `WRITE_PATTERN`, `COMPARE` and `VERIFY` do not come here as such: composite.ts makes reads and writes of them, through
 * `readBuffer` and `writeBuffer`.
 */
export interface Driver {
  /**
   * The task's READ or WRITE: `length` bytes at `offset` of the medium, from or to the request's data segments. They are
   * taken from the task: an offset of 2^31 and more, passed from function to function, would have to be allocated.
   */
  transfer(request: Request, table: RequestTable, write: boolean): number
  /** `length` bytes at `offset` of the medium, from or to one buffer at a host address; `sync`: durable when it ends. */
  buffer(request: Request, write: boolean, address: number, offset: number, length: number, sync: boolean): number
  /** Makes everything written durable. */
  flush(request: Request): number
  /** Deallocates; afterwards the range reads as zeros. -EOPNOTSUPP: cannot, write zeros instead. */
  discard(request: Request, offset: number, length: number): number
  /** Zeroes and keeps the range allocated. -EOPNOTSUPP: cannot, write zeros instead. */
  zero(request: Request, offset: number, length: number): number
  /** Has the range read ahead, as far as the medium does that; a hint, which moves nothing yet. */
  prefetch(request: Request, offset: number, length: number): number
  /**
   * How many of the `length` bytes at `offset` are in a hole that begins there (`data`: are allocated); 0: none. Always at once.
   */
  extent(offset: number, length: number, data: boolean): number
  /** Where requests wait that the driver ends by itself, not the kernel; null: it does not do that. */
  readonly delayLine: DelayLine | null
}
