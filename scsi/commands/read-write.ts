import { getU64 } from '../bytes.js'
import type { LogicalUnit } from '../logical-unit.js'
import type { Nexus } from '../nexus.js'
import { SENSE } from '../sense.js'
import { ACTION, type Program, type Task } from '../task.js'
import { FLAG } from '../unit-state.js'

/** FUA in byte 1 of READ and WRITE(10), (12) and (16) (SBC-3 5.8). */
const FUA = 0x08

/** LOGICAL BLOCK ADDRESS of the 6 byte commands (SBC-3 5.7). */
const LBA_6 = 0x1fffff

// The handlers put an LBA and a number of blocks where the task keeps bytes, and `locate` converts them in place: a
// double that is passed from function to function may have to be allocated, a field need not.

/**
 * Converts LBA and number of blocks in `offset` and `length` of the task to bytes.
 * @returns false if the range is not on the medium; the task has failed then. No blocks at the very end are on it.
 */
export function locate(task: Task, unit: LogicalUnit): boolean {
  if (task.offset + task.length > unit.state.capacity) {
    task.fail(SENSE.LOGICAL_BLOCK_ADDRESS_OUT_OF_RANGE)
    return false
  }
  const blockSize = unit.blockSize
  task.blockSize = blockSize
  task.offset *= blockSize
  task.length *= blockSize
  return true
}

/** A write that has to be durable before it is complete: FUA, or there is no write cache. */
export function mustBeDurable(task: Task, flags: number): boolean {
  return (task.cdbBytes[1]! & FUA) !== 0 || (flags & FLAG.WRITE_CACHE) === 0
}

function read(task: Task, nexus: Nexus): void {
  if (!locate(task, nexus.unit)) return
  task.transferLength = task.length
  if (task.length !== 0) task.action = ACTION.READ
}

function readFua(task: Task, nexus: Nexus): void {
  const fua = (task.cdbBytes[1]! & FUA) !== 0
  read(task, nexus)
  if (fua && task.action === ACTION.READ) {
    task.action = ACTION.PROGRAM
    task.program = flushThenRead(task)
  }
}

/** READ with FUA: what comes back has to be on the medium, so what a cache holds is written first (SBC-3 4.15). */
function* flushThenRead(task: Task): Program {
  task.action = ACTION.FLUSH
  const flushed = yield
  if (flushed < 0) {
    task.failErrno(-flushed)
    return
  }
  task.action = ACTION.READ
  task.fua = true
  const result = yield
  if (result < 0) task.failErrno(-result)
  else task.succeed()
}

function write(task: Task, nexus: Nexus, flags: number): void {
  if (!locate(task, nexus.unit)) return
  task.transferLength = task.length
  if (task.length === 0) return
  task.fua = mustBeDurable(task, flags)
  task.action = ACTION.WRITE
}

/** READ(6): TRANSFER LENGTH 0 is 256 blocks. */
export function read6(task: Task, nexus: Nexus): void {
  decode6(task)
  read(task, nexus)
}

export function read10(task: Task, nexus: Nexus): void {
  decode10(task)
  readFua(task, nexus)
}

export function read12(task: Task, nexus: Nexus): void {
  decode12(task)
  readFua(task, nexus)
}

export function read16(task: Task, nexus: Nexus): void {
  decode16(task)
  readFua(task, nexus)
}

export function write6(task: Task, nexus: Nexus, flags: number): void {
  decode6(task)
  if (!locate(task, nexus.unit)) return
  task.transferLength = task.length
  task.fua = (flags & FLAG.WRITE_CACHE) === 0
  task.action = ACTION.WRITE
}

export function write10(task: Task, nexus: Nexus, flags: number): void {
  decode10(task)
  write(task, nexus, flags)
}

export function write12(task: Task, nexus: Nexus, flags: number): void {
  decode12(task)
  write(task, nexus, flags)
}

export function write16(task: Task, nexus: Nexus, flags: number): void {
  decode16(task)
  write(task, nexus, flags)
}

function decode6(task: Task): void {
  const blocks = task.cdb.getUint8(4)
  task.offset = task.cdb.getUint32(0) & LBA_6
  task.length = blocks === 0 ? 256 : blocks
}

/** LBA and number of blocks where READ(10), WRITE(10), VERIFY(10), ... have them. */
export function decode10(task: Task): void {
  task.offset = task.cdb.getUint32(2)
  task.length = task.cdb.getUint16(7)
}

export function decode12(task: Task): void {
  task.offset = task.cdb.getUint32(2)
  task.length = task.cdb.getUint32(6)
}

export function decode16(task: Task): void {
  task.offset = getU64(task.cdb, 2)
  task.length = task.cdb.getUint32(10)
}
