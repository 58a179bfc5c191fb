import type { Nexus } from '../nexus.js'
import { SENSE } from '../sense.js'
import { ACTION, type Program, type Task } from '../task.js'
import { FLAG } from '../unit-state.js'

/** TEST UNIT READY (SPC-4 6.47): whether the medium is ready was looked at before. */
export function testUnitReady(task: Task): void {
  task.succeed()
}

/** START STOP UNIT byte 4 (SBC-3 5.20). */
const START_STOP = { START: 0x01, LOEJ: 0x02, NO_FLUSH: 0x04, POWER_CONDITION: 0xf0 } as const

/**
 * START STOP UNIT (SBC-3 5.20). There is nothing to spin down: stopping is a flush and power conditions change nothing.
 * LOEJ takes a removable medium out and in.
 */
export function startStopUnit(task: Task, nexus: Nexus, flags: number): void {
  const operation = task.cdbBytes[4]!
  if ((operation & START_STOP.POWER_CONDITION) !== 0) {
    task.succeed()
    return
  }
  const start = (operation & START_STOP.START) !== 0
  const flush = !start && (operation & START_STOP.NO_FLUSH) === 0
  if ((operation & START_STOP.LOEJ) !== 0) loadOrEject(task, nexus, flags, start, flush)
  else if (flush && (flags & FLAG.EJECTED) === 0) task.action = ACTION.FLUSH
}

function loadOrEject(task: Task, nexus: Nexus, flags: number, load: boolean, flush: boolean): void {
  const { state, config } = nexus.unit
  if (!config.removable) task.failCdbField(4, 1)
  else if ((flags & FLAG.REMOVAL_PREVENTED) !== 0) task.fail(SENSE.MEDIUM_REMOVAL_PREVENTED)
  else if (load) state.clear(FLAG.EJECTED)
  else if (!flush || (flags & FLAG.EJECTED) !== 0) state.set(FLAG.EJECTED)
  else {
    task.action = ACTION.PROGRAM
    task.program = flushThenEject(task, nexus)
  }
}

function* flushThenEject(task: Task, nexus: Nexus): Program {
  task.action = ACTION.FLUSH
  const flushed = yield
  if (flushed < 0) {
    task.failErrno(-flushed)
    return
  }
  nexus.unit.state.set(FLAG.EJECTED)
  task.succeed()
}

/** PREVENT ALLOW MEDIUM REMOVAL (SBC-3 5.10); a medium that cannot be removed stays where it is anyway. */
export function preventAllowMediumRemoval(task: Task, nexus: Nexus): void {
  if (!nexus.unit.config.removable) return
  if ((task.cdbBytes[4]! & 1) !== 0) nexus.unit.state.set(FLAG.REMOVAL_PREVENTED)
  else nexus.unit.state.clear(FLAG.REMOVAL_PREVENTED)
}
