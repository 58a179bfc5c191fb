import { executeAbsent, executeReportLunsUnit } from './absent-units.js'
import type { LunInventory } from './commands/report-luns.js'
import { MAX_LUN, WLUN_REPORT_LUNS } from './lun-list.js'
import type { Nexus } from './nexus.js'
import type { Task } from './task.js'
import { clear } from './unit-attention.js'

/**
 * A SCSI target device (SAM-5 4.6.10) as one controller sees it: its logical units, and answers for those that are not
 * there.
 */
export class Target implements LunInventory {
  readonly id: number
  // By LUN, without holes, no longer than the highest LUN asks for.
  readonly #nexuses: (Nexus | null)[] = []

  constructor(id: number) {
    this.id = id
  }

  /** The nexus of a LUN. */
  nexus(lun: number): Nexus | undefined {
    return this.#nexuses[lun] ?? undefined
  }

  /** The nexuses of all LUNs, ascending. */
  nexuses(): Nexus[] {
    return this.#nexuses.filter((nexus) => nexus !== null)
  }

  luns(): number[] {
    return this.nexuses().map((nexus) => nexus.lun)
  }

  clearAttention(conditions: number): void {
    for (const nexus of this.#nexuses) if (nexus !== null) clear(nexus.attention, conditions)
  }

  /** @throws RangeError for a LUN that is taken or beyond MAX_LUN, or a nexus of another target. */
  add(nexus: Nexus): void {
    const { lun } = nexus
    if (!Number.isInteger(lun) || lun < 0 || lun > MAX_LUN) throw new RangeError(`LUN ${lun} is not 0 to ${MAX_LUN}`)
    if (nexus.target !== this.id) throw new RangeError(`a nexus of target ${nexus.target} added to target ${this.id}`)
    if (this.nexus(lun) !== undefined) throw new RangeError(`LUN ${lun} of target ${this.id} is taken`)
    while (this.#nexuses.length <= lun) this.#nexuses.push(null)
    this.#nexuses[lun] = nexus
    nexus.owner = this
  }

  /** Takes a logical unit away; nothing happens if there is none. */
  remove(lun: number): void {
    const nexus = this.nexus(lun)
    if (nexus === undefined) return
    nexus.owner = null
    this.#nexuses[lun] = null
    while (this.#nexuses.length > 0 && this.#nexuses.at(-1) === null) this.#nexuses.pop()
  }

  /**
   * Runs the command in `task` on a logical unit, on the REPORT LUNS well known logical unit, or for a unit that is not
   * there.
   */
  execute(lun: number, task: Task): void {
    const nexus = lun >= 0 && lun < this.#nexuses.length ? this.#nexuses[lun]! : null
    if (nexus !== null) nexus.execute(task)
    else if (lun === WLUN_REPORT_LUNS) executeReportLunsUnit(task, this)
    else executeAbsent(task, lun, this)
  }
}
