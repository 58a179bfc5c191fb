import { CONFLICTS, NEXUS_WORD } from '../access.js'
import { VPD, VPD_HEADER } from '../inquiry/vpd.js'
import type { Nexus } from '../nexus.js'
import { type Scratch, scratch } from '../scratch.js'
import { SENSE, type SenseCode } from '../sense.js'
import { STATUS } from '../status.js'
import type { Task } from '../task.js'
import { type CopyEnd, type CopyStep, isDesignatedBy, planSegment } from '../third-party-copy/copy-plan.js'
import { COPY_STATUS, type CopyResult, writeCopyStatus, writeFailureDetails } from '../third-party-copy/copy-results.js'
import { type CopyList, type CopyUnit, LIST_ID_USAGE, parseCopyList } from '../third-party-copy/parameter-list.js'
import type { Effect, Effects, ReachableUnit, UnitNexus, UnitServer } from '../unit-server.js'
import { FLAG } from '../unit-state.js'

const PARAMETER_LIST_LENGTH = 10
const LIST_IDENTIFIER = 2
const ALLOCATION_LENGTH = 10

/** Bytes that are copied between two looks at whether the copy is still wanted. */
const PIECE = 4 * 2 ** 20

/** What keeps a unit from being copied from or to. */
const AWAY = FLAG.NOT_READY | FLAG.EJECTED | FLAG.FORMATTING | FLAG.SANITIZING | FLAG.SANITIZE_FAILED
const NO_WRITES = FLAG.READ_ONLY | FLAG.SOFTWARE_WRITE_PROTECT | FLAG.WRITE_FAULT

/** EXTENDED COPY(LID1) (SPC-4 6.4): no parameter list is no error. */
export function extendedCopy(task: Task, _nexus: Nexus, _flags: number): void {
  const length = task.cdb.getUint32(PARAMETER_LIST_LENGTH)
  if (length > 0) task.forwardParameters(length)
}

/** A logical unit as an end of a copy. */
interface Reached extends CopyEnd, ReachableUnit {}

/** The logical unit that a descriptor names, if it is one that the initiator could read or write itself. */
function find(nexus: UnitNexus, unit: CopyUnit): Reached | undefined {
  for (const reachable of nexus.reachable()) {
    const { config, state, vpdPages } = reachable.server.unit
    const page = vpdPages.get(VPD.DEVICE_IDENTIFICATION)!
    if (!isDesignatedBy(page.subarray(VPD_HEADER.SIZE), unit)) continue
    const flags = state.flags
    const access = reachable.nexus.attention[NEXUS_WORD.ACCESS]!
    if ((flags & AWAY) !== 0 || (access & CONFLICTS.READS) !== 0) return undefined
    const readOnly = reachable.nexus.readOnly || (flags & NO_WRITES) !== 0 || (access & CONFLICTS.WRITES) !== 0
    return { ...reachable, blockSize: config.blockSize, capacity: state.capacity, readOnly }
  }
  return undefined
}

/** EXTENDED COPY(LID1), in the server of the unit that it was sent to; others may be copied from and to. */
export function copyService(task: Task, server: UnitServer, nexus: UnitNexus): Effects | null {
  const list = parseCopyList(task)
  if (list === undefined) return null
  if (list.usage === LIST_ID_USAGE.NONE) return copy(task, nexus, list, undefined)
  const result = server.copyResults(nexus).begin(list.listIdentifier)
  if (result !== undefined) return copy(task, nexus, list, result)
  task.fail(SENSE.OPERATION_IN_PROGRESS)
  return null
}

function* copy(task: Task, nexus: UnitNexus, list: CopyList, result: CopyResult | undefined): Effects {
  try {
    yield { type: 'detach', answer: false, recallable: true }
    for (const segment of list.segments) {
      const step = planSegment(list, segment, (unit) => find(nexus, unit))
      const failure = typeof step === 'number' ? step : yield* copySegment(step, result)
      if (failure !== SENSE.NO_SENSE) {
        task.fail(failure)
        return
      }
      if (result !== undefined) result.segments++
    }
  } finally {
    // Also of a copy that nobody wants any more
    if (result !== undefined) finish(result, task)
  }
}

function finish(result: CopyResult, task: Task): void {
  result.status = task.status === STATUS.GOOD ? COPY_STATUS.COMPLETE : COPY_STATUS.FAILED
  result.scsiStatus = task.status
  result.sense = task.sense.slice(0, task.senseLength)
}

/** Ends with the sense code of what has gone wrong, or NO_SENSE. */
function* copySegment(step: CopyStep<Reached>, result: CopyResult | undefined): Generator<Effect, SenseCode, number> {
  const { source, destination, sourceOffset, destinationOffset, length } = step
  // The whole looks as if it had been read before anything was written, also where the ranges overlap.
  const backwards = source.server === destination.server && sourceOffset < destinationOffset
  for (let done = 0; done < length; ) {
    const part = Math.min(PIECE, length - done)
    const at = backwards ? length - done - part : done
    const copied = yield {
      type: 'copy',
      source: source.nexus,
      sourceOffset: sourceOffset + at,
      destination: destination.nexus,
      offset: destinationOffset + at,
      length: part,
    }
    if (copied < 0) return SENSE.THIRD_PARTY_DEVICE_FAILURE
    done += part
    if (result !== undefined) result.bytes += part
  }
  return SENSE.NO_SENSE
}

/** RECEIVE COPY STATUS(LID1) (SPC-4 6.33): of a copy that has ended the results are told once. */
export function copyStatusService(task: Task, server: UnitServer, nexus: UnitNexus): null {
  return answerResult(task, server, nexus, writeCopyStatus)
}

/** RECEIVE COPY FAILURE DETAILS(LID1) (SPC-4 6.32). */
export function copyFailureDetailsService(task: Task, server: UnitServer, nexus: UnitNexus): null {
  return answerResult(task, server, nexus, writeFailureDetails)
}

/** The results of a copy are the server's to tell. */
export function receiveCopyResult(task: Task, _nexus: Nexus, _flags: number): void {
  task.forward()
}

function answerResult(
  task: Task,
  server: UnitServer,
  nexus: UnitNexus,
  write: (into: Scratch, result: CopyResult) => void,
): null {
  const results = server.copyResults(nexus)
  const listIdentifier = task.cdbBytes[LIST_IDENTIFIER]!
  const result = results.get(listIdentifier)
  if (result === undefined) {
    task.failCdbField(LIST_IDENTIFIER)
    return null
  }
  write(scratch.begin(), result)
  task.answer(scratch.bytes, scratch.length, task.cdb.getUint32(ALLOCATION_LENGTH))
  // What has failed can be asked for in both ways.
  if (result.status === COPY_STATUS.COMPLETE) results.discard(listIdentifier)
  return null
}
