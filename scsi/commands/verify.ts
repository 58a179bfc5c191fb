import type { Nexus } from '../nexus.js'
import { ACTION, failMiscompare, type Program, type Task } from '../task.js'
import { decode10, decode12, decode16, locate } from './read-write.js'

/** BYTCHK, bits 2 and 1 of byte 1 (SBC-3 5.29). */
const BYTCHK = {
  /** The medium can be read. */
  MEDIUM: 0,
  /** It holds what data-out holds. */
  COMPARE: 1,
  /** Each block of it holds the one block of data-out. */
  COMPARE_ONE_BLOCK: 3,
} as const

function byteCheck(task: Task): number {
  return (task.cdbBytes[1]! >>> 1) & 3
}

/** VERIFY (SBC-3 5.29 to 5.31): no blocks are no error. */
function verify(task: Task, nexus: Nexus): void {
  const check = byteCheck(task)
  if (check === 2) {
    task.failCdbField(1, 2)
    return
  }
  if (!locate(task, nexus.unit)) return
  if (task.length === 0) return
  switch (check) {
    case BYTCHK.MEDIUM:
      task.action = ACTION.VERIFY
      break
    case BYTCHK.COMPARE:
      task.action = ACTION.COMPARE
      task.transferLength = task.length
      break
    default:
      task.action = ACTION.PROGRAM
      task.transferLength = task.blockSize
      task.program = compareEachBlock(task)
  }
}

function* compareEachBlock(task: Task): Program {
  const { length, blockSize } = task
  for (let done = 0; done < length; done += blockSize) {
    task.action = ACTION.COMPARE
    task.length = blockSize
    const result = yield
    if (result < 0) {
      task.failErrno(-result)
      return
    }
    if (result > 0) {
      failMiscompare(task, result)
      return
    }
    task.offset += blockSize
  }
  task.succeed()
}

export function verify10(task: Task, nexus: Nexus): void {
  decode10(task)
  verify(task, nexus)
}

export function verify12(task: Task, nexus: Nexus): void {
  decode12(task)
  verify(task, nexus)
}

export function verify16(task: Task, nexus: Nexus): void {
  decode16(task)
  verify(task, nexus)
}

/** WRITE AND VERIFY (SBC-3 5.37 to 5.39): what was written is durable before it is looked at. */
function writeAndVerify(task: Task, nexus: Nexus): void {
  if (!locate(task, nexus.unit)) return
  task.transferLength = task.length
  if (task.length === 0) return
  task.action = ACTION.PROGRAM
  task.program = writeThenVerify(task, byteCheck(task) === BYTCHK.COMPARE)
}

function* writeThenVerify(task: Task, compare: boolean): Program {
  task.action = ACTION.WRITE
  task.fua = true
  const written = yield
  if (written < 0) {
    task.failErrno(-written)
    return
  }
  task.action = compare ? ACTION.COMPARE : ACTION.VERIFY
  const verified = yield
  if (verified < 0) task.failErrno(-verified)
  else if (compare && verified > 0) failMiscompare(task, verified)
  else task.succeed()
}

export function writeAndVerify10(task: Task, nexus: Nexus): void {
  decode10(task)
  writeAndVerify(task, nexus)
}

export function writeAndVerify12(task: Task, nexus: Nexus): void {
  decode12(task)
  writeAndVerify(task, nexus)
}

export function writeAndVerify16(task: Task, nexus: Nexus): void {
  decode16(task)
  writeAndVerify(task, nexus)
}
