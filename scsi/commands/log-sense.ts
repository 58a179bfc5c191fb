import { ALL_SUBPAGES, LOG_PAGE, type LogPage, logPages, putParameter } from '../log-pages/pages.js'
import type { Nexus } from '../nexus.js'
import { scratch } from '../scratch.js'
import type { Task } from '../task.js'

/** LOG SENSE CDB (SPC-4 6.8); SP is refused by the command table. */
const CDB = { PAGE: 2, SUBPAGE: 3, PARAMETER_POINTER: 5, ALLOCATION_LENGTH: 7 } as const
/** The rest of byte 2 is PC: threshold and cumulative values are the same for lists, which is all there is. */
const PAGE_CODE = 0x3f

/** Byte 0 of a log page (SPC-4 7.3.2.1): whether it has a subpage code. */
const SPF = 0x40
const LENGTH_FIELD = 2
const HEADER = 4

/** LOG SENSE (SPC-4 6.8). */
export function logSense(task: Task, nexus: Nexus): void {
  const pages = logPages(nexus.unit)
  const code = task.cdbBytes[CDB.PAGE]! & PAGE_CODE
  const subpage = task.cdbBytes[CDB.SUBPAGE]!
  if (code === LOG_PAGE.SUPPORTED_PAGES && (subpage === 0 || subpage === ALL_SUBPAGES)) {
    listPages(task, pages, subpage)
    return
  }
  const page = pages.find((each) => each.code === code)
  if (page === undefined) task.failCdbField(CDB.PAGE, 5)
  else if (subpage !== 0) task.failCdbField(CDB.SUBPAGE, 7)
  else parameters(task, page)
}

/** Supported Log Pages, and Supported Log Pages and Subpages (SPC-4 7.3.18, 7.3.19). */
function listPages(task: Task, pages: readonly LogPage[], subpage: number): void {
  if (task.cdb.getUint16(CDB.PARAMETER_POINTER) !== 0) {
    task.failCdbField(CDB.PARAMETER_POINTER, 7)
    return
  }
  const codes = [LOG_PAGE.SUPPORTED_PAGES, ...pages.map((page) => page.code)]
  scratch
    .begin()
    .u8(subpage === 0 ? 0 : SPF)
    .u8(subpage)
    .u16(0)
  if (subpage === 0) for (const code of codes) scratch.u8(code)
  else {
    scratch.u16(LOG_PAGE.SUPPORTED_PAGES).u8(LOG_PAGE.SUPPORTED_PAGES).u8(ALL_SUBPAGES)
    for (const { code } of pages) scratch.u8(code).u8(0)
  }
  finish(task)
}

/** The parameters of a page, from PARAMETER POINTER on. */
function parameters(task: Task, page: LogPage): void {
  const first = task.cdb.getUint16(CDB.PARAMETER_POINTER)
  const asked = page.parameters.filter((parameter) => parameter.code >= first)
  if (asked.length === 0) {
    task.failCdbField(CDB.PARAMETER_POINTER, 7)
    return
  }
  scratch.begin().u8(page.code).u8(0).u16(0)
  for (const parameter of asked) putParameter(scratch, parameter)
  finish(task)
}

function finish(task: Task): void {
  scratch.setU16(LENGTH_FIELD, scratch.length - HEADER)
  task.answer(scratch.bytes, scratch.length, task.cdb.getUint16(CDB.ALLOCATION_LENGTH))
}
