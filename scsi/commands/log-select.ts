import type { Task } from '../task.js'

/** LOG SELECT CDB (SPC-4 6.7); SP, and a parameter list, are refused by the command table. */
const CDB = { FLAGS: 1, PAGE: 2, SUBPAGE: 3 } as const
const PCR = 0x02
const PAGE_CODE = 0x3f

/**
 * LOG SELECT (SPC-4 6.7): no log parameter can be set, and none counts anything, so that resetting them all (PCR) or giving them their
 * defaults changes nothing. PCR is for all pages, whatever page is named.
 */
export function logSelect(task: Task): void {
  if ((task.cdbBytes[CDB.FLAGS]! & PCR) !== 0) return
  if ((task.cdbBytes[CDB.PAGE]! & PAGE_CODE) !== 0) task.failCdbField(CDB.PAGE, 5)
  else if (task.cdbBytes[CDB.SUBPAGE] !== 0) task.failCdbField(CDB.SUBPAGE, 7)
}
