import { Task } from '../scsi/index.js'
import type { Steps } from './composite.js'
import type { UnitBinding } from './unit-binding.js'

/** Why a request was taken away from its initiator before it ended (virtio 1.3 5.6.6.2). */
export const CANCEL = { NONE: 0, ABORTED: 1, RESET: 2 } as const

/** Whoever waits until requests are answered, cancelled ones mostly. */
export interface CancelWaiter {
  /** How many there were. */
  count: number
  /** How many are still to be answered, and how many rings are still to be searched. */
  remaining: number
}

/**
 * One virtio-scsi request being worked on: what was read from its descriptor chain, and the SCSI task. Preallocated;
 * fields are plain Numbers so that reuse allocates nothing.
 */
export class Request {
  /** Names the request among all of its IOThread: see RequestTable. */
  readonly id: number
  /** Position in its table. */
  readonly slot: number
  readonly task: Task
  /** Index of this request's first data segment in the table's `segments`. */
  readonly firstSegment: number
  /** Index of its first word in the table's `iovecs`, and the host address of that. */
  readonly firstIovec: number
  readonly iovecAddress: number

  /** What stands for the chain: its head, or with RING_PACKED id | descriptors << 16 (Chain.buffer). */
  head = 0
  /** By what number it is noted as in flight. */
  noted = 0
  active = false
  /** The `tag` field, as two signed 32-bit halves (compared, never computed with). */
  tagLow = 0
  tagHigh = 0
  target = 0
  lun = 0
  /** Data segments: data-out ones first, then data-in ones. */
  outSegments = 0
  inSegments = 0
  outLength = 0
  inLength = 0
  /** Where the response goes: a memory window and offset, or -1 when `scatter` says it in pieces. */
  responseWindow = 0
  responseOffset = 0
  /** Pairs (guest address, bytes) of a response that is not in one piece. Allocated when the first such one comes. */
  scatter: Float64Array | null = null
  scatterCount = 0
  /** OPERATION, for the statistics. */
  operation = 0
  cancel: number = CANCEL.NONE
  /** Who waits for this request to be answered. */
  waiters: CancelWaiter[] | null = null
  unit: UnitBinding | null = null
  /** By what number its controller's Forwarding has it; 0: not at all. */
  ticket = 0
  /** Where it is inside its unit's write gate, and whether it is alone there (see WriteGate). */
  stripes = 0
  alone = false
  /** A block operation that takes several I/Os (see composite.ts). */
  steps: Steps | null = null

  constructor(
    id: number,
    slot: number,
    cdb: ArrayBuffer,
    firstSegment: number,
    firstIovec: number,
    iovecAddress: number,
  ) {
    this.id = id
    this.slot = slot
    this.task = new Task(cdb, slot * 32)
    this.firstSegment = firstSegment
    this.firstIovec = firstIovec
    this.iovecAddress = iovecAddress
  }
}
