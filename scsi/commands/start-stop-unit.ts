import { NEXUS_WORD } from '../access.js'
import type { Nexus } from '../nexus.js'
import { SENSE } from '../sense.js'
import { ACTION, type Task } from '../task.js'
import { ATTENTION, raise } from '../unit-attention.js'
import type { Effects, UnitNexus, UnitServer } from '../unit-server.js'
import { FLAG } from '../unit-state.js'

/** Byte 4 of START STOP UNIT (SBC-3 5.20). */
const BYTE_4 = 4
const OPERATION = { START: 0x01, LOEJ: 0x02, NO_FLUSH: 0x04, POWER_CONDITION: 0xf0 } as const
const LOEJ_BIT = 1

/**
 * START STOP UNIT (SBC-3 5.20). There is nothing to spin down: stopping is a flush, and power conditions change nothing. LOEJ takes a
 * removable medium out, and in again.
 */
export function startStopUnit(task: Task, nexus: Nexus, flags: number): void {
  const operation = task.cdbBytes[BYTE_4]!
  if ((operation & OPERATION.POWER_CONDITION) !== 0) return
  if ((operation & OPERATION.LOEJ) !== 0) {
    if (nexus.unit.config.removable) task.forward()
    else task.failCdbField(BYTE_4, LOEJ_BIT)
  } else if (flushes(operation) && (flags & FLAG.EJECTED) === 0) task.action = ACTION.FLUSH
}

function flushes(operation: number): boolean {
  return (operation & (OPERATION.START | OPERATION.NO_FLUSH)) === 0
}

/** START STOP UNIT with LOEJ in the unit's server: nobody may prevent it, whether a medium goes or comes. */
export function loadOrEject(task: Task, server: UnitServer, nexus: UnitNexus): Effects | null {
  const { state } = server.unit
  const operation = task.cdbBytes[BYTE_4]!
  const isLoad = (operation & OPERATION.START) !== 0
  const isThere = (state.flags & FLAG.EJECTED) === 0
  if ([...server.nexuses].some(prevents)) task.fail(SENSE.MEDIUM_REMOVAL_PREVENTED)
  else if (isLoad !== isThere)
    return isLoad ? load(server, server.others(nexus)) : eject(task, server, flushes(operation))
  return null
}

function prevents({ attention }: UnitNexus): boolean {
  return Atomics.load(attention, NEXUS_WORD.PREVENTS) !== 0
}

/** Who has not asked for it is told (SPC-4 4.5.6, "not ready to ready change, medium may have changed"). */
function* load({ unit }: UnitServer, others: readonly UnitNexus[]): Effects {
  unit.state.clear(FLAG.EJECTED)
  for (const { attention } of others) raise(attention, ATTENTION.NOT_READY_TO_READY)
  yield { type: 'announce', nexuses: others, attention: SENSE.NOT_READY_TO_READY_CHANGE }
}

/** What is under way ends first. A medium that cannot be flushed stays. */
function* eject(task: Task, { unit }: UnitServer, flush: boolean): Effects {
  unit.state.set(FLAG.EJECTED)
  yield { type: 'fence' }
  if (!flush) return
  const flushed = yield { type: 'flush' }
  if (flushed >= 0) return
  unit.state.clear(FLAG.EJECTED)
  task.action = ACTION.FLUSH
  task.failErrno(-flushed)
}
