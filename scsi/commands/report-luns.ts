import { encodeLunList, SELECT_REPORT } from '../lun-list.js'
import type { Nexus } from '../nexus.js'
import type { Task } from '../task.js'
import { ATTENTION } from '../unit-attention.js'

/** REPORT LUNS CDB (SPC-4 6.33). */
const CDB = { SELECT_REPORT: 2, ALLOCATION_LENGTH: 6 } as const

const SELECTIONS: ReadonlySet<number> = new Set(Object.values(SELECT_REPORT))

/** What REPORT LUNS needs of a target. */
export interface LunInventory {
  /** The LUNs of its logical units, ascending. */
  luns(): number[]
  /** Clears conditions of all its nexuses. */
  clearAttention(conditions: number): void
}

/** REPORT LUNS (SPC-4 6.33) at a logical unit. */
export function reportLuns(task: Task, nexus: Nexus): void {
  if (nexus.owner !== null) answerReportLuns(task, nexus.owner)
  else answer(task, [nexus.lun])
}

/** Answers REPORT LUNS; the target's REPORTED LUNS DATA HAS CHANGED conditions are settled by that (SPC-4 6.33). */
export function answerReportLuns(task: Task, target: LunInventory): void {
  if (answer(task, target.luns())) target.clearAttention(ATTENTION.REPORTED_LUNS_CHANGED)
}

function answer(task: Task, luns: readonly number[]): boolean {
  const select = task.cdbBytes[CDB.SELECT_REPORT]!
  if (!SELECTIONS.has(select)) {
    task.failCdbField(CDB.SELECT_REPORT, 7)
    return false
  }
  const list = encodeLunList(luns, select)
  task.answer(list, list.length, task.cdb.getUint32(CDB.ALLOCATION_LENGTH))
  return true
}
