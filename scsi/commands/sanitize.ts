import type { Nexus } from '../nexus.js'
import { SENSE } from '../sense.js'
import type { Task } from '../task.js'
import type { Effects, UnitServer } from '../unit-server.js'
import { FLAG } from '../unit-state.js'
import { refuseWhileWiping, type Wipe, wipe } from './wipe.js'

/** SANITIZE CDB (SBC-3 5.22). */
const CDB = { FLAGS: 1, PARAMETER_LIST_LENGTH: 7 } as const
const IMMED = 0x80
/** ALLOW UNRESTRICTED SANITIZE EXIT. */
const AUSE = 0x20

/** Parameter list of OVERWRITE (SBC-3 5.22.2.2). */
const LIST = { FLAGS: 0, PATTERN_LENGTH: 2, PATTERN: 4 } as const
const INVERT = 0x80
const OVERWRITE_COUNT = 0x1f

/** OVERWRITE: the list is the pattern, one block of it at most, behind its header. */
export function sanitizeOverwrite(task: Task, nexus: Nexus, _flags: number): void {
  const length = task.cdb.getUint16(CDB.PARAMETER_LIST_LENGTH)
  if (length <= LIST.PATTERN || length > LIST.PATTERN + nexus.unit.blockSize) {
    task.failCdbField(CDB.PARAMETER_LIST_LENGTH)
    return
  }
  task.forwardParameters(length)
}

/** BLOCK ERASE and EXIT FAILURE MODE: without a parameter list. */
export function sanitizeWithoutParameters(task: Task, _nexus: Nexus, _flags: number): void {
  if (task.cdb.getUint16(CDB.PARAMETER_LIST_LENGTH) !== 0) task.failCdbField(CDB.PARAMETER_LIST_LENGTH)
  else task.forward()
}

/** OVERWRITE: the whole medium is written with the pattern, as often as it is to be. */
export function overwriteService(task: Task, server: UnitServer): Effects | null {
  const list = task.parameters
  const length = (list[LIST.PATTERN_LENGTH]! << 8) | list[LIST.PATTERN_LENGTH + 1]!
  const count = list[LIST.FLAGS]! & OVERWRITE_COUNT
  if (count === 0) {
    task.failParameter(LIST.FLAGS, 4)
    return null
  }
  if (length === 0 || length > server.unit.blockSize || LIST.PATTERN + length > task.parameterLength) {
    task.failParameter(LIST.PATTERN_LENGTH)
    return null
  }
  const pattern = list.slice(LIST.PATTERN, LIST.PATTERN + length)
  // The inverse comes in between, and not last: what is read afterwards is the pattern.
  const inverse = (list[LIST.FLAGS]! & INVERT) !== 0 ? pattern.map((byte) => ~byte) : pattern
  const passes = Array.from({ length: count }, (_, i) => ((count - 1 - i) % 2 === 0 ? pattern : inverse))
  return sanitize(task, server, passes)
}

/** BLOCK ERASE: everything is deallocated, and reads as zeros. */
export function blockEraseService(task: Task, server: UnitServer): Effects {
  return sanitize(task, server, [null])
}

/** EXIT FAILURE MODE: after a SANITIZE that has failed, if that allowed it. */
export function exitFailureModeService(task: Task, server: UnitServer): null {
  const { state } = server.unit
  if ((state.flags & FLAG.SANITIZE_FAILED) === 0) return null
  if (server.mayExitFailureMode) state.clear(FLAG.SANITIZE_FAILED)
  else task.failCdbField(CDB.FLAGS, 4)
  return null
}

function* sanitize(task: Task, server: UnitServer, passes: Wipe['passes']): Effects {
  if (refuseWhileWiping(task, server)) return
  const flags = task.cdbBytes[CDB.FLAGS]!
  server.mayExitFailureMode = (flags & AUSE) !== 0
  const result = yield* wipe(server, {
    passes,
    flag: FLAG.SANITIZING,
    failure: FLAG.SANITIZE_FAILED,
    immediate: (flags & IMMED) !== 0,
  })
  if (result < 0) task.fail(SENSE.SANITIZE_COMMAND_FAILED)
}
