import { OPCODE } from './command.js'
import { answerInquiry } from './commands/inquiry.js'
import { PERIPHERAL, standardInquiry } from './inquiry/standard.js'
import type { Nexus } from './nexus.js'
import { SENSE } from './sense.js'
import { DIRECTION, type Task } from './task.js'

/** The REPORT LUNS well known logical unit (SPC-4 9.2), as the first two bytes of its LUN. */
export const WLUN_REPORT_LUNS = 0xc101

/** The highest LUN that flat space addressing has (SAM-5 4.7.7.4). */
export const MAX_LUN = 16383

const NO_PAGES: ReadonlyMap<number, Uint8Array> = new Map()
const IDENTITY = { vendor: '', product: '', revision: '', removable: false }
const NO_LUN_ZERO = standardInquiry(PERIPHERAL.NOT_CONNECTED, IDENTITY)
const NO_LUN = standardInquiry(PERIPHERAL.NOT_SUPPORTED, IDENTITY)

/** A SCSI target device (SAM-5 4.6.10) as one controller sees it: its logical units, and answers for those that are not there. */
export class Target {
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

  /** @throws RangeError for a LUN that is taken or beyond MAX_LUN. */
  add(nexus: Nexus): void {
    const { lun } = nexus
    if (!Number.isInteger(lun) || lun < 0 || lun > MAX_LUN) throw new RangeError(`LUN ${lun} is not 0 to ${MAX_LUN}`)
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

  /** Runs the command in `task` on a logical unit, on the REPORT LUNS well known logical unit, or for a unit that is not there. */
  execute(lun: number, task: Task): void {
    const nexus = lun < this.#nexuses.length ? this.#nexuses[lun] : null
    if (nexus !== null && nexus !== undefined) nexus.execute(task)
    else this.#executeAbsent(lun, task)
  }

  /** A LUN without a unit (SPC-4 6.6.2 for INQUIRY, SAM-5 4.11 for the rest). */
  #executeAbsent(lun: number, task: Task): void {
    task.reset()
    task.descriptorSense = false
    task.direction = DIRECTION.IN
    if (task.cdbBytes[0] === OPCODE.INQUIRY) answerInquiry(task, lun === 0 ? NO_LUN_ZERO : NO_LUN, NO_PAGES)
    else task.fail(SENSE.LOGICAL_UNIT_NOT_SUPPORTED)
  }
}

/** The targets of a controller, by target id. */
export class TargetMap {
  readonly #targets: (Target | null)[] = new Array<Target | null>(256).fill(null)

  /** The target with an id of 0 to 255, if it has one or more logical units. */
  target(id: number): Target | undefined {
    return this.#targets[id] ?? undefined
  }

  /** @throws RangeError for an id that is taken or not 0 to 255. */
  add(target: Target): void {
    if (this.#targets[target.id] !== null) throw new RangeError(`target ${target.id} is taken or not 0 to 255`)
    this.#targets[target.id] = target
  }

  remove(id: number): void {
    if (this.target(id) !== undefined) this.#targets[id] = null
  }
}
