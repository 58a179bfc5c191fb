import type { Nexus } from '../nexus.js'
import type { Task } from '../task.js'

/** INQUIRY CDB (SPC-4 6.6.1). */
export const INQUIRY_CDB = { EVPD: 1, PAGE_CODE: 2, ALLOCATION_LENGTH: 3 } as const

/** INQUIRY (SPC-4 6.6): standard data, or a vital product data page. */
export function inquiry(task: Task, nexus: Nexus): void {
  answerInquiry(task, nexus.unit.standardInquiry, nexus.unit.vpdPages)
}

/** Answers INQUIRY from prepared data. */
export function answerInquiry(task: Task, standard: Uint8Array, pages: ReadonlyMap<number, Uint8Array>): void {
  const pageCode = task.cdbBytes[INQUIRY_CDB.PAGE_CODE]!
  const allocationLength = task.cdb.getUint16(INQUIRY_CDB.ALLOCATION_LENGTH)
  if ((task.cdbBytes[INQUIRY_CDB.EVPD]! & 1) === 0) {
    if (pageCode !== 0) task.failCdbField(INQUIRY_CDB.PAGE_CODE, 7)
    else task.answer(standard, standard.length, allocationLength)
    return
  }
  const page = pages.get(pageCode)
  if (page === undefined) task.failCdbField(INQUIRY_CDB.PAGE_CODE, 7)
  else task.answer(page, page.length, allocationLength)
}
