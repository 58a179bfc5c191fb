import type { Nexus } from '../nexus.js'
import { SENSE } from '../sense.js'
import type { Task } from '../task.js'
import type { Effects, UnitServer } from '../unit-server.js'
import { FLAG } from '../unit-state.js'
import { refuseWhileWiping, wipe } from './wipe.js'

/** Byte 1 of the FORMAT UNIT CDB (SBC-3 5.3). FMTPINFO is refused by the command table: there is no protection information. */
const CDB = { FLAGS: 1 } as const
const LONGLIST = 0x20
const FMTDATA = 0x10
const CMPLST = 0x08
const DEFECT_LIST_FORMAT = 0x07

/** Parameter list header (SBC-3 5.3.2.2), short and long. */
const HEADER = {
  FIELD_USAGE: 0,
  FLAGS: 1,
  SHORT_DEFECT_LENGTH: 2,
  SHORT: 4,
  INTERVAL: 3,
  LONG_DEFECT_LENGTH: 4,
  LONG: 8,
} as const
const FOV = 0x80
const IP = 0x08
const IMMED = 0x02
/** What counts only with FOV. */
const OPTIONS = 0x70 | IP

/** Initialization pattern descriptor (SBC-3 5.3.2.3), behind the header. */
const PATTERN = { MODIFIER: 0, TYPE: 1, LENGTH: 2, BYTES: 4 } as const
const TYPE = { DEFAULT: 0, REPEAT: 1 } as const

/** FORMAT UNIT (SBC-3 5.3): the CDB does not tell how long the parameter list is, the list itself does. */
export function formatUnit(task: Task, _nexus: Nexus, _flags: number): void {
  const flags = task.cdbBytes[CDB.FLAGS]!
  if ((flags & FMTDATA) === 0) {
    if ((flags & (CMPLST | LONGLIST | DEFECT_LIST_FORMAT)) !== 0) task.failCdbField(CDB.FLAGS)
    else task.forward()
    return
  }
  if (task.parameterLength < ((flags & LONGLIST) !== 0 ? HEADER.LONG : HEADER.SHORT)) {
    task.fail(SENSE.PARAMETER_LIST_LENGTH_ERROR)
    return
  }
  task.forwardParameters(task.parameterLength)
}

/** What a parameter list asks for; null: zeros. undefined: the task has failed. */
function patternOf(task: Task, server: UnitServer): Uint8Array<ArrayBuffer> | null | undefined {
  const long = (task.cdbBytes[CDB.FLAGS]! & LONGLIST) !== 0
  const list = task.parameters
  const flags = list[HEADER.FLAGS]!
  // PROTECTION FIELD USAGE, and PROTECTION INTERVAL EXPONENT with P_I_INFORMATION: there is no protection information.
  if ((list[HEADER.FIELD_USAGE]! & 0x07) !== 0) return failAt(task, HEADER.FIELD_USAGE, 2)
  if (long && list[HEADER.INTERVAL] !== 0) return failAt(task, HEADER.INTERVAL, 7)
  if ((flags & FOV) === 0 && (flags & OPTIONS) !== 0) return failAt(task, HEADER.FLAGS, 7)
  const at = long ? HEADER.LONG_DEFECT_LENGTH : HEADER.SHORT_DEFECT_LENGTH
  const header = long ? HEADER.LONG : HEADER.SHORT
  // No list of defects: the medium's are its own affair.
  for (let i = at; i < header; i++) if (list[i] !== 0) return failAt(task, at)
  if ((flags & IP) === 0) return null
  if (task.parameterLength < header + PATTERN.BYTES) return fail(task)
  // SI (security initialize) is obsolete, the IP MODIFIER would put addresses into the blocks.
  if (list[header + PATTERN.MODIFIER] !== 0) return failAt(task, header + PATTERN.MODIFIER)
  const length = (list[header + PATTERN.LENGTH]! << 8) | list[header + PATTERN.LENGTH + 1]!
  switch (list[header + PATTERN.TYPE]) {
    case TYPE.DEFAULT:
      return length === 0 ? null : failAt(task, header + PATTERN.LENGTH)
    case TYPE.REPEAT: {
      if (length === 0 || length > server.unit.blockSize) return failAt(task, header + PATTERN.LENGTH)
      const start = header + PATTERN.BYTES
      return task.parameterLength < start + length ? fail(task) : list.slice(start, start + length)
    }
    default:
      return failAt(task, header + PATTERN.TYPE)
  }
}

/** FORMAT UNIT in the server of its unit. */
export function formatService(task: Task, server: UnitServer): Effects | null {
  if (task.parameterLength === 0) return format(task, server, null, false)
  const pattern = patternOf(task, server)
  if (pattern === undefined) return null
  return format(task, server, pattern, (task.parameters[HEADER.FLAGS]! & IMMED) !== 0)
}

function* format(task: Task, server: UnitServer, pattern: Uint8Array<ArrayBuffer> | null, immediate: boolean): Effects {
  if (refuseWhileWiping(task, server)) return
  const flags = { flag: FLAG.FORMATTING, failure: FLAG.FORMAT_FAILED }
  const result = yield* wipe(server, { passes: [pattern], ...flags, immediate })
  if (result < 0) task.fail(SENSE.FORMAT_COMMAND_FAILED)
}

function failAt(task: Task, byte: number, bit?: number): undefined {
  task.failParameter(byte, bit)
}

function fail(task: Task): undefined {
  task.fail(SENSE.PARAMETER_LIST_LENGTH_ERROR)
}
