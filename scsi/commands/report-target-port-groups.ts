import { scratch } from '../scratch.js'
import { TARGET_PORT_GROUP } from '../target-port.js'
import type { Task } from '../task.js'
import type { UnitServer } from '../unit-server.js'

/** REPORT TARGET PORT GROUPS CDB (SPC-4 6.37). */
const CDB = { FORMAT: 1, ALLOCATION_LENGTH: 6 } as const
/** PARAMETER DATA FORMAT, the upper three bits of byte 1. */
const FORMAT = { LENGTH_ONLY: 0, EXTENDED: 1 } as const

const LENGTH_FIELD = 4
/** FORMAT TYPE of the extended header. */
const EXTENDED_TYPE = 0x10
/** ASYMMETRIC ACCESS STATE, and the bit that says that it is supported. */
const ACTIVE_OPTIMIZED = 0x00
const AO_SUP = 0x01

/** REPORT TARGET PORT GROUPS (SPC-4 6.37): which ports there are only the unit's server knows. */
export function reportTargetPortGroups(task: Task): void {
  const format = task.cdbBytes[CDB.FORMAT]! >>> 5
  if (format > FORMAT.EXTENDED) task.failCdbField(CDB.FORMAT, 7)
  else task.forward()
}

/** REPORT TARGET PORT GROUPS in the unit's server: one group, of all ports with the unit, active and optimized. */
export function answerTargetPortGroups(task: Task, { nexuses }: UnitServer): null {
  const ports = [...nexuses].map(({ port }) => port.relative).sort((a, b) => a - b)
  scratch.begin().u32(0)
  if (task.cdbBytes[CDB.FORMAT]! >>> 5 === FORMAT.EXTENDED) scratch.u8(EXTENDED_TYPE).zeros(3)
  scratch.u8(ACTIVE_OPTIMIZED).u8(AO_SUP).u16(TARGET_PORT_GROUP)
  // STATUS CODE 0: the state was never changed.
  scratch.zeros(3).u8(ports.length)
  for (const port of ports) scratch.u16(0).u16(port)
  scratch.setU32(0, scratch.length - LENGTH_FIELD)
  task.answer(scratch.bytes, scratch.length, task.cdb.getUint32(CDB.ALLOCATION_LENGTH))
  return null
}
