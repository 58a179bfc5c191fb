import type { Command } from '../command.js'
import type { Nexus } from '../nexus.js'
import { scratch } from '../scratch.js'
import type { Task } from '../task.js'

/** REPORT SUPPORTED OPERATION CODES CDB (SPC-4 6.35). */
const CDB = { OPTIONS: 2, OPCODE: 3, SERVICE_ACTION: 4, ALLOCATION_LENGTH: 6 } as const
const RCTD = 0x80
const REPORTING_OPTIONS = 0x07

/** REPORTING OPTIONS */
const REPORT = {
  ALL: 0,
  /** One command that has no service actions. */
  OPCODE: 1,
  /** One command that has them. */
  SERVICE_ACTION: 2,
  /** One command of either kind, SERVICE ACTION being 0 for the first. */
  EITHER: 3,
} as const

const SERVACTV = 0x01
const CTDP_ALL = 0x02
const CTDP_ONE = 0x80
const SUPPORT = { NOT_SUPPORTED: 0x01, STANDARD: 0x03 } as const

const COMMAND_DATA_LENGTH = 4
const TIMEOUTS_LENGTH = 0x0a
const SERVICE_ACTIONS = 32

/** REPORT SUPPORTED OPERATION CODES (SPC-4 6.35), from the command table. */
export function reportOperationCodes(task: Task, nexus: Nexus): void {
  const options = task.cdbBytes[CDB.OPTIONS]!
  const timeouts = (options & RCTD) !== 0
  const allocationLength = task.cdb.getUint32(CDB.ALLOCATION_LENGTH)
  const table = nexus.unit.commands
  switch (options & REPORTING_OPTIONS) {
    case REPORT.ALL:
      allCommands(table.commands, timeouts)
      task.answer(scratch.bytes, scratch.length, allocationLength)
      break
    case REPORT.OPCODE:
    case REPORT.SERVICE_ACTION:
    case REPORT.EITHER:
      if (!oneCommand(task, table.entries[task.cdbBytes[CDB.OPCODE]!]!, timeouts)) return
      task.answer(scratch.bytes, scratch.length, allocationLength)
      break
    default:
      task.failCdbField(CDB.OPTIONS, 2)
  }
}

/** The all_commands parameter data format (SPC-4 6.35.2). */
function allCommands(commands: readonly Command[], timeouts: boolean): void {
  scratch.begin().u32(0)
  for (const each of commands) {
    const hasActions = each.serviceAction >= 0
    scratch.u8(each.opcode).u8(0)
    scratch.u16(hasActions ? each.serviceAction : 0).u8(0)
    scratch.u8((timeouts ? CTDP_ALL : 0) | (hasActions ? SERVACTV : 0)).u16(each.length)
    if (timeouts) timeoutsDescriptor(each)
  }
  scratch.setU32(0, scratch.length - COMMAND_DATA_LENGTH)
}

/**
 * The one_command parameter data format (SPC-4 6.35.3). False: the reporting option does not go with the opcode; the
 * task has failed.
 */
function oneCommand(task: Task, entry: Command, timeouts: boolean): boolean {
  const option = task.cdbBytes[CDB.OPTIONS]! & REPORTING_OPTIONS
  const serviceAction = task.cdb.getUint16(CDB.SERVICE_ACTION)
  const hasActions = entry.actions !== null
  if (
    (option === REPORT.OPCODE && hasActions) ||
    (option === REPORT.SERVICE_ACTION && entry.supported && !hasActions)
  ) {
    task.failCdbField(CDB.OPTIONS, 2)
    return false
  }
  let command: Command | null = entry
  if (hasActions) command = serviceAction < SERVICE_ACTIONS ? entry.actions![serviceAction]! : null
  else if (option !== REPORT.OPCODE && serviceAction !== 0) command = null
  scratch.begin().u8(0)
  if (command === null || !command.supported) {
    scratch.u8(SUPPORT.NOT_SUPPORTED).u16(0)
    return true
  }
  scratch.u8((timeouts ? CTDP_ONE : 0) | SUPPORT.STANDARD).u16(command.length)
  scratch.raw(command.usage)
  if (timeouts) timeoutsDescriptor(command)
  return true
}

/** Command timeouts descriptor (SPC-4 6.35.4): seconds; no nominal time is told. */
function timeoutsDescriptor(command: Command): void {
  scratch.u16(TIMEOUTS_LENGTH).u8(0).u8(0).u32(0).u32(command.timeout)
}

/** REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS CDB (SPC-4 6.36). */
const TMF_CDB = { REPD: 2, ALLOCATION_LENGTH: 6 } as const
const REPD = 0x80

/** Byte 0: ABORT TASK, ABORT TASK SET, CLEAR TASK SET, LOGICAL UNIT RESET, QUERY TASK. */
const FUNCTIONS_0 = 0x80 | 0x40 | 0x10 | 0x08 | 0x04
/** Byte 1: QUERY TASK SET, I_T NEXUS RESET. */
const FUNCTIONS_1 = 0x02 | 0x01
const BASIC_SIZE = 4
const EXTENDED_SIZE = 16

/**
 * REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS (SPC-4 6.36): those that virtio-scsi has (virtio 1.3 5.6.6.2), without
 * CLEAR ACA.
 */
export function reportTaskManagementFunctions(task: Task): void {
  const size = (task.cdbBytes[TMF_CDB.REPD]! & REPD) !== 0 ? EXTENDED_SIZE : BASIC_SIZE
  scratch.begin().u8(FUNCTIONS_0).u8(FUNCTIONS_1).u8(0)
  // ADDITIONAL LENGTH, and no timeouts.
  scratch.u8(size - BASIC_SIZE).zeros(size - BASIC_SIZE)
  task.answer(scratch.bytes, scratch.length, task.cdb.getUint32(TMF_CDB.ALLOCATION_LENGTH))
}
