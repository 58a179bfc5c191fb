import { ERRNO, senseFromErrno } from './errno.js'
import { encodeSense, NO_DETAIL, NOT_GIVEN, SENSE, SENSE_BYTES, type SenseCode, type SenseDetail } from './sense.js'
import { STATUS } from './status.js'

/** What is left to do after `execute()`: nothing, one block operation, or a program of them. */
export const ACTION = {
  /** status, sense and data-in are final. */
  DONE: 0,
  /** Medium [offset, offset + length) to data-in, from guestOffset on. */
  READ: 1,
  /** Data-out, from guestOffset on, to medium [offset, offset + length); `fua`: durable before it is complete. */
  WRITE: 2,
  /** Everything written and acknowledged so far becomes durable. */
  FLUSH: 3,
  /** [offset, offset + length) may be deallocated; it reads as zeros afterwards where that is promised (LBPRZ). */
  DISCARD: 4,
  /** [offset, offset + length) reads as zeros afterwards; `mayUnmap`: by deallocation if that is cheaper. */
  WRITE_ZEROES: 5,
  /** The first patternLength bytes of data-out, repeated over [offset, offset + length). */
  WRITE_PATTERN: 6,
  /**
   * Compares medium [offset, offset + length) with data-out from guestOffset on. Result 0: equal; n > 0: byte n - 1
   * differs first.
   */
  COMPARE: 7,
  /** [offset, offset + length) can be read. */
  VERIFY: 8,
  /** `program` says. */
  PROGRAM: 9,
  /** The unit's server (UnitServer) executes the command, with what `parameters` hold; see forward(). */
  FORWARD: 10,
  /** [offset, offset + length) is likely to be read soon. */
  PREFETCH: 11,
  /** How many of the `length` bytes from offset on are deallocated; the result tells, 0: the first one is not. */
  FIND_HOLE: 12,
  /** How many of them are allocated. */
  FIND_DATA: 13,
  /**
   * Compares medium [offset, offset + length) with the first half of 2 * length bytes of data-out, and writes the second half
   * there if they are equal; nothing else writes there meanwhile. Result as COMPARE's.
   */
  COMPARE_AND_WRITE: 14,
  /** Sets in medium [offset, offset + length) the bits that are set in data-out; nothing else writes there meanwhile. */
  OR_WRITE: 15,
  /** WRITE, of which nobody ever sees a part. */
  WRITE_ATOMIC: 16,
} as const

/** Which way the data phase of a command goes. */
export const DIRECTION = { NONE: 0, IN: 1, OUT: 2 } as const

/** Bytes of a CDB that a task keeps (virtio 1.3 5.6.6.1: cdb_size is 32 by default). */
export const CDB_BYTES = 32

/** Most bytes of data-out that a command takes as a parameter list. */
export const MAX_PARAMETER_BYTES = 65536

/**
 * A multi-step command: sets up a block operation in its task, yields, is resumed with the operation's result (>= 0, or
 * -errno).
 */
export type Program = Generator<void, void, number>

/** What leaves the medium as it is. */
const READING: ReadonlySet<number> = new Set([
  ACTION.READ,
  ACTION.COMPARE,
  ACTION.VERIFY,
  ACTION.PREFETCH,
  ACTION.FIND_HOLE,
  ACTION.FIND_DATA,
])

/** How a task has ended, as a value that may be sent to another thread. */
export interface TaskAnswer {
  readonly status: number
  readonly senseCode: SenseCode
  /** Sense data; empty unless the status is CHECK CONDITION. */
  readonly sense: Uint8Array<ArrayBuffer>
  /** The data-in that is to be moved. */
  readonly dataIn: Uint8Array<ArrayBuffer>
  readonly transferLength: number
  readonly overrun: boolean
}

const NO_BYTES = new Uint8Array(0)

// One per thread: fail() is not re-entrant and allocates nothing.
const detail: SenseDetail = { ...NO_DETAIL }

/**
 * One command on its way through a device server (SAM-5 4.5.9). Preallocated, one per request slot, used again and
 * again: the fields are plain because the I/O path reads and writes them for every command. Lengths and offsets are in
 * bytes.
 */
export class Task {
  // ---- set by the transport before execute()
  /** The CDB, a private copy, zero padded to CDB_BYTES (initiators own the memory it came from). */
  readonly cdb: DataView
  readonly cdbBytes: Uint8Array
  /** Bytes that the initiator's data-out and data-in buffers hold. */
  dataOutLength = -0.5
  dataInLength = -0.5
  /** Data-out that was gathered because `parameterListLength(task)` asked for it; private memory. */
  parameters: Uint8Array = NO_BYTES
  parameterLength = 0

  // ---- results of execute()
  action: number = ACTION.DONE
  /** Bytes on the medium. */
  offset = -0.5
  length = -0.5
  fua = false
  guestOffset = -0.5
  patternLength = 0
  mayUnmap = false
  /** Status code (SAM-5 5.3.1). */
  status: number = STATUS.GOOD
  /** Bytes of `sense` that count; 0 unless the status is CHECK CONDITION. */
  senseLength = 0
  /** The sense code behind `sense` (0: none), for logs and statistics. */
  senseCode: SenseCode = 0
  /** Data-in of a command that is DONE; valid until the next execute() on this thread. */
  dataIn: Uint8Array = NO_BYTES
  /** Bytes of `dataIn` to move: cut at ALLOCATION LENGTH and at dataInLength. */
  dataInCount = 0
  /**
   * Bytes that the command moves in its data phase, in `direction`. The residual is the buffer's length minus what was
   * moved.
   */
  transferLength = -0.5
  /**
   * transferLength is more than the initiator's buffer for that direction holds: nothing has been done, nothing is to
   * be done, and the transport says so (VIRTIO_SCSI_S_OVERRUN, virtio 1.3 5.6.6.1.1).
   */
  overrun = false
  /** DIRECTION of the data phase, by the command descriptor. */
  direction: number = DIRECTION.NONE
  /** The steps of a command whose action is PROGRAM. */
  program: Program | null = null
  /** Block size of the unit, for LBAs in sense data; set where the action can miscompare or fail with an LBA. */
  blockSize = 512
  /** D_SENSE of the unit at execute() (SPC-4 7.5.8). */
  descriptorSense = false
  // Allocated by the first failure: most tasks never need it.
  #sense: Uint8Array = NO_BYTES

  /** @param buffer where the CDB lives: CDB_BYTES from byteOffset on; a buffer of its own if absent. */
  constructor(buffer: ArrayBuffer = new ArrayBuffer(CDB_BYTES), byteOffset = 0) {
    this.cdb = new DataView(buffer, byteOffset, CDB_BYTES)
    this.cdbBytes = new Uint8Array(buffer, byteOffset, CDB_BYTES)
    // The fields were made with a fraction in them: so V8 keeps doubles in place, and does not allocate for each new value.
    this.dataOutLength = 0
    this.dataInLength = 0
    this.offset = 0
    this.length = 0
    this.guestOffset = 0
    this.transferLength = 0
  }

  /** Sense data, SENSE_BYTES long at least once there is any. */
  get sense(): Uint8Array {
    return this.#sense
  }

  /** Forgets the results of the command before. */
  reset(): void {
    this.action = ACTION.DONE
    this.length = 0
    this.fua = false
    this.guestOffset = 0
    this.mayUnmap = false
    this.status = STATUS.GOOD
    this.senseLength = 0
    this.senseCode = 0
    this.dataInCount = 0
    this.transferLength = 0
    this.overrun = false
    this.program = null
  }

  /** Sees to it that the command does not move more than the initiator's buffer holds; the last step of execute(). */
  limit(): void {
    const buffer = this.direction === DIRECTION.OUT ? this.dataOutLength : this.dataInLength
    if (this.transferLength <= buffer) return
    this.overrun = true
    this.action = ACTION.DONE
    this.program = null
  }

  /**
   * Whether the parameter list of `length` bytes is there; if not the task ends: as an overrun if the initiator's
   * buffer is too short, and as our own failure if it was not gathered.
   */
  takesParameters(length: number): boolean {
    this.transferLength = length
    if (this.parameterLength >= length) return true
    if (this.dataOutLength >= length) this.fail(SENSE.INTERNAL_TARGET_FAILURE)
    return false
  }

  /** How the task has ended. */
  get result(): TaskAnswer {
    return {
      status: this.status,
      senseCode: this.senseCode,
      sense: this.#sense.slice(0, this.senseLength),
      dataIn: this.dataIn.slice(0, this.dataInCount),
      transferLength: this.transferLength,
      overrun: this.overrun,
    }
  }

  /** Ends the task as another one has ended that stood for it. */
  conclude(answer: TaskAnswer): void {
    this.action = ACTION.DONE
    this.status = answer.status
    this.senseCode = answer.senseCode
    this.senseLength = Math.min(answer.sense.length, SENSE_BYTES)
    if (this.senseLength > 0) {
      this.#makeSense()
      this.#sense.set(answer.sense.subarray(0, this.senseLength))
    }
    this.dataIn = answer.dataIn
    this.dataInCount = Math.min(answer.dataIn.length, this.dataInLength)
    this.transferLength = answer.transferLength
    this.overrun = answer.overrun
  }

  /** Leaves a command without data-out to the unit's server. */
  forward(): void {
    this.action = ACTION.FORWARD
  }

  /** Leaves a command to the unit's server, with its parameter list of `length` bytes; or fails as `takesParameters` does. */
  forwardParameters(length: number): void {
    if (this.takesParameters(length)) this.action = ACTION.FORWARD
  }

  /** Ends the command with CHECK CONDITION. */
  fail(sense: SenseCode): void {
    this.#check(sense, NOT_GIVEN, NOT_GIVEN, NOT_GIVEN, true)
  }

  /** CHECK CONDITION with an INFORMATION field, such as the LBA of a medium error. */
  failAt(sense: SenseCode, information: number): void {
    this.#check(sense, information, NOT_GIVEN, NOT_GIVEN, true)
  }

  /** CHECK CONDITION that tells how far what keeps the command away is, 0 to 1. */
  failWithProgress(sense: SenseCode, progress: number): void {
    detail.progress = progress
    this.#check(sense, NOT_GIVEN, NOT_GIVEN, NOT_GIVEN, true)
    detail.progress = NOT_GIVEN
  }

  /** INVALID FIELD IN CDB, pointing at a byte and, unless bit is -1, at the highest bit of the field. */
  failCdbField(byte: number, bit: number = NOT_GIVEN): void {
    this.#check(SENSE.INVALID_FIELD_IN_CDB, NOT_GIVEN, byte, bit, true)
  }

  /** INVALID FIELD IN PARAMETER LIST, pointing at a byte of the parameter list. */
  failParameter(byte: number, bit: number = NOT_GIVEN): void {
    this.#check(SENSE.INVALID_FIELD_IN_PARAMETER_LIST, NOT_GIVEN, byte, bit, false)
  }

  /**
   * Ends the command because the block operation in action, offset and length failed: CHECK CONDITION by senseFromErrno;
   * for EAGAIN (nothing left to run it with) TASK SET FULL, for EBADE (reserved below us) RESERVATION CONFLICT.
   */
  failErrno(errno: number): void {
    if (errno === ERRNO.EBADE) this.end(STATUS.RESERVATION_CONFLICT)
    else if (errno === ERRNO.EAGAIN) this.end(STATUS.TASK_SET_FULL)
    else this.fail(senseFromErrno(errno, !READING.has(this.action)))
  }

  /** Ends the command with a status other than CHECK CONDITION, and no data. */
  end(status: number): void {
    this.action = ACTION.DONE
    this.status = status
    this.senseLength = 0
    this.senseCode = 0
    this.dataInCount = 0
    this.transferLength = 0
  }

  /** Ends the command with GOOD; data that was or will be moved stands. */
  succeed(): void {
    this.action = ACTION.DONE
    this.status = STATUS.GOOD
    this.senseLength = 0
    this.senseCode = 0
  }

  /**
   * Ends the command with GOOD and the first `length` bytes of `bytes` as its data-in, cut at ALLOCATION LENGTH (SPC-4
   * 4.2.5.6) and at the buffer.
   */
  answer(bytes: Uint8Array, length: number, allocationLength: number): void {
    const count = Math.min(length, allocationLength)
    this.action = ACTION.DONE
    this.status = STATUS.GOOD
    this.dataIn = bytes
    this.transferLength = count
    this.dataInCount = Math.min(count, this.dataInLength)
  }

  #makeSense(): void {
    if (this.#sense.length === 0) this.#sense = new Uint8Array(SENSE_BYTES)
  }

  #check(sense: SenseCode, information: number, byte: number, bit: number, inCdb: boolean): void {
    this.#makeSense()
    detail.information = information
    detail.fieldByte = byte
    detail.fieldBit = bit
    detail.fieldInCdb = inCdb
    this.action = ACTION.DONE
    this.status = STATUS.CHECK_CONDITION
    this.senseCode = sense
    this.senseLength = encodeSense(this.#sense, sense, this.descriptorSense, detail)
    this.dataInCount = 0
    this.transferLength = 0
  }
}

/**
 * Ends a task whose block operation (not a program's) has ended: GOOD, MISCOMPARE (SBC-3 5.28) when something was
 * compared and differs, or what -errno stands for.
 * @param result of the operation, see ACTION.
 */
export function complete(task: Task, result: number): void {
  if (result < 0) task.failErrno(-result)
  else if (task.action === ACTION.COMPARE && result > 0) failMiscompare(task, result)
  else if (task.action === ACTION.COMPARE_AND_WRITE && result > 0) {
    // INFORMATION is the offset in data-out here (SBC-3 5.2).
    task.failAt(SENSE.MISCOMPARE_DURING_VERIFY_OPERATION, result - 1)
  } else task.succeed()
}

/** MISCOMPARE at the block that holds byte `result` - 1 of the COMPARE in the task. */
export function failMiscompare(task: Task, result: number): void {
  const lba = Math.floor((task.offset + result - 1) / task.blockSize)
  task.failAt(SENSE.MISCOMPARE_DURING_VERIFY_OPERATION, lba)
}
