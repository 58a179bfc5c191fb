import { DISK_COMMANDS } from './cdb-table.js'
import { OPCODE } from './command.js'
import { answerInquiry } from './commands/inquiry.js'
import { answerReportLuns, type LunInventory } from './commands/report-luns.js'
import { answerSense } from './commands/request-sense.js'
import { PERIPHERAL, standardInquiry } from './inquiry/standard.js'
import { vpdPages } from './inquiry/vpd.js'
import { SENSE, type SenseCode } from './sense.js'
import type { Task } from './task.js'

const NO_IDENTITY = { vendor: '', product: '', revision: '', removable: false }
const NO_PAGES: ReadonlyMap<number, Uint8Array> = new Map()

/** What stands at a LUN that has no logical unit of its own. */
interface StandIn {
  readonly inquiry: Uint8Array
  readonly pages: ReadonlyMap<number, Uint8Array>
  /** What REQUEST SENSE reports. */
  readonly sense: SenseCode
  /** Whether TEST UNIT READY is GOOD. */
  readonly ready: boolean
  /** What other commands end with. */
  readonly others: SenseCode
}

/**
 * LUN 0 of a target that has none: the target device answers, but no disk is connected (SPC-4 6.6.2, peripheral
 * qualifier 001b).
 */
const LUN_ZERO: StandIn = {
  inquiry: standardInquiry(PERIPHERAL.NOT_CONNECTED, NO_IDENTITY),
  pages: NO_PAGES,
  sense: SENSE.LOGICAL_UNIT_NOT_SUPPORTED,
  ready: false,
  others: SENSE.LOGICAL_UNIT_NOT_SUPPORTED,
}

const NO_UNIT: StandIn = { ...LUN_ZERO, inquiry: standardInquiry(PERIPHERAL.NOT_SUPPORTED, NO_IDENTITY) }

/** The REPORT LUNS well known logical unit (SPC-4 9.2). */
const WELL_KNOWN: StandIn = {
  inquiry: standardInquiry(PERIPHERAL.WELL_KNOWN_UNIT, NO_IDENTITY),
  pages: vpdPages(PERIPHERAL.WELL_KNOWN_UNIT, []),
  sense: SENSE.NO_SENSE,
  ready: true,
  others: SENSE.INVALID_COMMAND_OPERATION_CODE,
}

/**
 * Answers for an incorrect logical unit number (SAM-5 4.11): INQUIRY, REPORT LUNS and REQUEST SENSE; all else is not
 * supported.
 */
export function executeAbsent(task: Task, lun: number, target: LunInventory): void {
  execute(task, lun === 0 ? LUN_ZERO : NO_UNIT, target)
}

/** Answers for the REPORT LUNS well known logical unit. */
export function executeReportLunsUnit(task: Task, target: LunInventory): void {
  execute(task, WELL_KNOWN, target)
}

function execute(task: Task, standIn: StandIn, target: LunInventory): void {
  const command = DISK_COMMANDS.find(task.cdbBytes)
  task.reset()
  task.direction = command.direction
  task.descriptorSense = false
  const opcode = task.cdbBytes[0]
  const isAnswered = opcode === OPCODE.INQUIRY || opcode === OPCODE.REPORT_LUNS || opcode === OPCODE.REQUEST_SENSE
  if (!(isAnswered || (opcode === OPCODE.TEST_UNIT_READY && standIn.ready))) task.fail(standIn.others)
  else if (command.hasRefusedBits(task.cdb)) command.refuse(task)
  else if (opcode === OPCODE.INQUIRY) answerInquiry(task, standIn.inquiry, standIn.pages)
  else if (opcode === OPCODE.REPORT_LUNS) answerReportLuns(task, target)
  else if (opcode === OPCODE.REQUEST_SENSE) answerSense(task, standIn.sense)
  task.limit()
}
