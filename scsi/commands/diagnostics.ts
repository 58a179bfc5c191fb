import type { Nexus } from '../nexus.js'
import { scratch } from '../scratch.js'
import { SENSE } from '../sense.js'
import { ACTION, type Task } from '../task.js'

/** SEND DIAGNOSTIC CDB (SPC-4 6.42). */
const SEND = { FLAGS: 1, PARAMETER_LIST_LENGTH: 3 } as const
const PF = 0x10
const SELFTEST = 0x04

/** RECEIVE DIAGNOSTIC RESULTS CDB (SPC-4 6.24). */
const RECEIVE = { PCV: 1, PAGE_CODE: 2, ALLOCATION_LENGTH: 3 } as const

/** A diagnostic page (SPC-4 7.2.1). */
const PAGE = { CODE: 0, LENGTH: 2, SIZE: 4 } as const
/** The one there is: Supported Diagnostic Pages (SPC-4 7.2.3). */
const SUPPORTED_PAGES = 0x00

/** SEND DIAGNOSTIC (SPC-4 6.42): the default self-test reads the first block; the one page that can be sent is empty. */
export function sendDiagnostic(task: Task, nexus: Nexus): void {
  const flags = task.cdbBytes[SEND.FLAGS]!
  const length = task.cdb.getUint16(SEND.PARAMETER_LIST_LENGTH)
  const isSelfTest = (flags & SELFTEST) !== 0
  if (length > 0) {
    // Without PF the parameters are the vendor's, and a self-test takes none.
    if (isSelfTest || (flags & PF) === 0) task.failCdbField(SEND.PARAMETER_LIST_LENGTH, 7)
    else checkPage(task, length)
  } else if (isSelfTest && nexus.unit.state.capacity > 0) {
    task.action = ACTION.VERIFY
    task.offset = 0
    task.length = nexus.unit.blockSize
  }
}

/** Supported Diagnostic Pages as it is sent: no more than a header, and nothing happens. */
function checkPage(task: Task, length: number): void {
  if (length < PAGE.SIZE) task.fail(SENSE.PARAMETER_LIST_LENGTH_ERROR)
  else if (length > PAGE.SIZE) task.failCdbField(SEND.PARAMETER_LIST_LENGTH, 7)
  else if (!task.takesParameters(length)) return
  else if (task.parameters[PAGE.CODE] !== SUPPORTED_PAGES) task.failParameter(PAGE.CODE, 7)
  else if ((task.parameters[PAGE.LENGTH]! | task.parameters[PAGE.LENGTH + 1]!) !== 0) task.failParameter(PAGE.LENGTH, 7)
}

/** RECEIVE DIAGNOSTIC RESULTS (SPC-4 6.24): Supported Diagnostic Pages, whether it is asked for or was what came last. */
export function receiveDiagnosticResults(task: Task): void {
  if ((task.cdbBytes[RECEIVE.PCV]! & 1) !== 0 && task.cdbBytes[RECEIVE.PAGE_CODE] !== SUPPORTED_PAGES) {
    task.failCdbField(RECEIVE.PAGE_CODE, 7)
    return
  }
  scratch.begin().u8(SUPPORTED_PAGES).u8(0).u16(1).u8(SUPPORTED_PAGES)
  task.answer(scratch.bytes, scratch.length, task.cdb.getUint16(RECEIVE.ALLOCATION_LENGTH))
}
