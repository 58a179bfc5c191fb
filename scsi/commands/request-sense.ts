import type { Nexus } from '../nexus.js'
import { scratch } from '../scratch.js'
import { encodeSense, NO_DETAIL, SENSE, type SenseCode } from '../sense.js'
import type { Task } from '../task.js'
import { take } from '../unit-attention.js'
import { FLAG } from '../unit-state.js'

/** REQUEST SENSE CDB (SPC-4 6.39). */
const CDB = { DESC: 1, ALLOCATION_LENGTH: 4 } as const

/**
 * REQUEST SENSE (SPC-4 6.39): a pending unit attention, which is reported by that, or what keeps the medium from being
 * ready.
 */
export function requestSense(task: Task, nexus: Nexus, flags: number): void {
  const attention = take(nexus.attention)
  answerSense(task, attention === 0 ? readiness(flags) : attention)
}

function readiness(flags: number): SenseCode {
  if ((flags & FLAG.EJECTED) !== 0) return SENSE.MEDIUM_NOT_PRESENT
  if ((flags & FLAG.NOT_READY) !== 0) return SENSE.LOGICAL_UNIT_NOT_READY
  return SENSE.NO_SENSE
}

/** Answers REQUEST SENSE with sense data, in the format that DESC asks for. */
export function answerSense(task: Task, sense: SenseCode): void {
  const descriptorFormat = (task.cdbBytes[CDB.DESC]! & 1) !== 0
  const length = encodeSense(scratch.bytes, sense, descriptorFormat, NO_DETAIL)
  task.answer(scratch.bytes, length, task.cdbBytes[CDB.ALLOCATION_LENGTH]!)
}
