import type { Nexus } from '../nexus.js'
import { OUT_LIST } from '../reservations/parameter-list.js'
import { readFullStatus, readKeys, readReservation, reportCapabilities } from '../reservations/reports.js'
import { RESERVE_OUT, reserveOut } from '../reservations/reserve-out.js'
import { SENSE } from '../sense.js'
import { STATUS } from '../status.js'
import { MAX_PARAMETER_BYTES, type Task } from '../task.js'
import { itNexus } from '../unit-reservations.js'
import type { Effects, UnitNexus, UnitServer } from '../unit-server.js'
import { conclude } from './reservation-outcome.js'

/** PERSISTENT RESERVE IN CDB (SPC-4 6.15.1), and OUT (SPC-4 6.16.1). */
const IN_CDB = { SERVICE_ACTION: 1, ALLOCATION_LENGTH: 7 } as const
const OUT_CDB = { SERVICE_ACTION: 1, SCOPE_AND_TYPE: 2, PARAMETER_LIST_LENGTH: 5 } as const
const SERVICE_ACTION_MASK = 0x1f

/** Service actions of PERSISTENT RESERVE IN. */
export const RESERVE_IN = {
  READ_KEYS: 0x00,
  READ_RESERVATION: 0x01,
  REPORT_CAPABILITIES: 0x02,
  READ_FULL_STATUS: 0x03,
} as const

/** PERSISTENT RESERVE IN (SPC-4 6.15): the unit's server knows. */
export function persistentReserveIn(task: Task): void {
  task.forward()
}

/** PERSISTENT RESERVE OUT (SPC-4 6.16). */
export function persistentReserveOut(task: Task, _nexus: Nexus): void {
  const length = task.cdb.getUint32(OUT_CDB.PARAMETER_LIST_LENGTH)
  if (length < OUT_LIST.SIZE || length > MAX_PARAMETER_BYTES) task.fail(SENSE.PARAMETER_LIST_LENGTH_ERROR)
  else task.forwardParameters(length)
}

/** PERSISTENT RESERVE IN in the unit's server; while somebody has RESERVEd the unit, it conflicts (SPC-2 5.5.1). */
export function reportReservations(task: Task, { reservations }: UnitServer): null {
  const { state, persistent } = reservations
  if (state.reserved !== null) {
    task.end(STATUS.RESERVATION_CONFLICT)
    return null
  }
  const data = report(task.cdbBytes[IN_CDB.SERVICE_ACTION]! & SERVICE_ACTION_MASK)
  task.answer(data, data.length, task.cdb.getUint16(IN_CDB.ALLOCATION_LENGTH))
  return null

  function report(action: number): Uint8Array {
    switch (action) {
      case RESERVE_IN.READ_KEYS:
        return readKeys(state)
      case RESERVE_IN.READ_RESERVATION:
        return readReservation(state)
      case RESERVE_IN.REPORT_CAPABILITIES:
        return reportCapabilities(state, persistent)
      default:
        return readFullStatus(state)
    }
  }
}

/** PERSISTENT RESERVE OUT in the unit's server. */
export function changeReservations(task: Task, server: UnitServer, nexus: UnitNexus): Effects | null {
  const { state, ports, persistent } = server.reservations
  const action = task.cdbBytes[OUT_CDB.SERVICE_ACTION]! & SERVICE_ACTION_MASK
  const scopeAndType = task.cdbBytes[OUT_CDB.SCOPE_AND_TYPE]!
  const list = task.parameters.subarray(0, task.parameterLength)
  const command = { action, scope: scopeAndType >>> 4, type: scopeAndType & 0x0f, list }
  const outcome = reserveOut(state, command, { nexus: itNexus(nexus), ports, persistent })
  return conclude(task, server, nexus, outcome, { aborts: action === RESERVE_OUT.PREEMPT_AND_ABORT })
}
