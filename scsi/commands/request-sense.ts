import type { Nexus } from '../nexus.js'
import { scratch } from '../scratch.js'
import { encodeSense, NO_DETAIL, NOT_GIVEN, SENSE, type SenseCode } from '../sense.js'
import type { Task } from '../task.js'
import { take } from '../unit-attention.js'
import { FLAG } from '../unit-state.js'
import { wipedSense } from '../wiped.js'

/** REQUEST SENSE CDB (SPC-4 6.39). */
const CDB = { DESC: 1, ALLOCATION_LENGTH: 4 } as const

/**
 * REQUEST SENSE (SPC-4 6.39): a pending unit attention, which is reported by that, or what keeps the medium from being
 * ready.
 */
export function requestSense(task: Task, nexus: Nexus, flags: number): void {
  const attention = take(nexus.attention)
  if (attention !== 0) answerSense(task, attention)
  else answerSense(task, readiness(flags), isWiped(flags) ? nexus.unit.state.progress : NOT_GIVEN)
}

function isWiped(flags: number): boolean {
  return (flags & (FLAG.FORMATTING | FLAG.SANITIZING)) !== 0
}

function readiness(flags: number): SenseCode {
  const wiped = wipedSense(flags)
  if (wiped !== SENSE.NO_SENSE) return wiped
  if ((flags & FLAG.EJECTED) !== 0) return SENSE.MEDIUM_NOT_PRESENT
  if ((flags & FLAG.NOT_READY) !== 0) return SENSE.LOGICAL_UNIT_NOT_READY
  return SENSE.NO_SENSE
}

/** Answers REQUEST SENSE with sense data, in the format that DESC asks for. `progress`: PROGRESS INDICATION, 0 to 1, or NOT_GIVEN. */
export function answerSense(task: Task, sense: SenseCode, progress: number = NOT_GIVEN): void {
  const descriptorFormat = (task.cdbBytes[CDB.DESC]! & 1) !== 0
  const length = encodeSense(scratch.bytes, sense, descriptorFormat, { ...NO_DETAIL, progress })
  task.answer(scratch.bytes, length, task.cdbBytes[CDB.ALLOCATION_LENGTH]!)
}
