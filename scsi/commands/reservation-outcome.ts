import type { Outcome } from '../reservations/outcome.js'
import { SENSE } from '../sense.js'
import { STATUS } from '../status.js'
import type { Task } from '../task.js'
import { allowRemoval, commandsCleared } from '../task-management.js'
import { clear, raise } from '../unit-attention.js'
import type { Effects, UnitNexus, UnitServer } from '../unit-server.js'

/** What becomes of the commands of preempted nexuses. */
export interface Preemption {
  /** They are aborted, and the nexuses do not prevent the removal of the medium any more (SPC-4 5.13.11.2.6). */
  readonly aborts: boolean
}

/** Ends a task as its outcome says, and carries out what that takes: the service of commands that reserve. */
export function conclude(
  task: Task,
  server: UnitServer,
  nexus: UnitNexus,
  outcome: Outcome,
  { aborts }: Preemption = { aborts: false },
): Effects | null {
  switch (outcome.kind) {
    case 'conflict':
      task.end(STATUS.RESERVATION_CONFLICT)
      return null
    case 'failed':
      if (outcome.sense === SENSE.INVALID_FIELD_IN_PARAMETER_LIST) task.failParameter(outcome.byte, outcome.bit)
      else if (outcome.sense === SENSE.INVALID_FIELD_IN_CDB) task.failCdbField(outcome.byte, outcome.bit)
      else task.fail(outcome.sense)
      return null
    case 'done':
      if (outcome.reservations === server.reservations.state && !aborts) return null
      return carryOut(task, server, nexus, outcome, aborts)
  }
}

function* carryOut(
  task: Task,
  server: UnitServer,
  nexus: UnitNexus,
  { reservations: after, notices, preempted }: Extract<Outcome, { kind: 'done' }>,
  aborts: boolean,
): Effects {
  const { reservations, nexuses } = server
  const before = reservations.state
  // What is kept is to have the unit attentions too.
  const raised: [UnitNexus, number][] = []
  for (const notice of notices) {
    for (const told of reservations.among(nexuses, [notice.nexus])) {
      if ((Atomics.load(told.attention, 0) & notice.condition) === 0) raised.push([told, notice.condition])
      raise(told.attention, notice.condition)
    }
  }
  // New commands see the new state at once: of two initiators none is to take what the other has been given.
  const conflicts = reservations.change(after)
  const kept = yield { type: 'persist' }
  if (kept < 0) {
    reservations.change(before)
    for (const [told, condition] of raised) clear(told.attention, condition)
    task.fail(SENSE.INTERNAL_TARGET_FAILURE)
    return
  }
  if (aborts) yield* abort(reservations.among(nexuses, preempted), nexus)
  if (conflicts) yield { type: 'fence' }
}

/** Ends the commands of preempted nexuses; others than the sender are told if they lost one, for TAS is 0 (SAM-5 5.6). */
function* abort(preempted: readonly UnitNexus[], sender: UnitNexus): Effects {
  for (const each of preempted) {
    const count = yield { type: 'abort', nexuses: [each] }
    if (count > 0 && each !== sender) commandsCleared([each])
  }
  allowRemoval(preempted)
}
