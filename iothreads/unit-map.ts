import { WLUN_REPORT_LUNS } from 'vhost-user-protocol-ts'
import type { Target } from '../scsi/index.js'
import type { UnitBinding } from './unit-binding.js'

/** LUNs below this are looked up in an array, the few others in a Map. */
const SMALL_LUN = 256
const TARGETS = 256
const NO_UNITS: (UnitBinding | null)[] = new Array(SMALL_LUN).fill(null)

/** A controller's targets and logical units as one IOThread sees them. */
export class UnitMap {
  readonly #targets: (Target | undefined)[] = new Array(TARGETS).fill(undefined)
  readonly #small: (UnitBinding | null)[][] = new Array(TARGETS).fill(NO_UNITS)
  readonly #others = new Map<number, UnitBinding>()
  readonly bindings: UnitBinding[] = []
  /** Who answers the REPORT LUNS well-known logical unit, which has no target in its address. */
  #first: Target | undefined

  addTarget(id: number, target: Target): void {
    this.#targets[id] = target
    this.#small[id] = new Array(SMALL_LUN).fill(null)
    this.#first = this.#targets.find((each) => each !== undefined)
  }

  addUnit(binding: UnitBinding): void {
    this.bindings.push(binding)
    if (binding.lun < SMALL_LUN) this.#small[binding.target]![binding.lun] = binding
    else this.#others.set(binding.target * 65536 + binding.lun, binding)
  }

  /** The target that a request goes to; undefined: there is none. */
  targetOf(id: number, lun: number): Target | undefined {
    if (id >= 0) return this.#targets[id]
    return lun === WLUN_REPORT_LUNS ? this.#first : undefined
  }

  /** The unit at `target` (negative: none) and `lun`, or null. */
  find(target: number, lun: number): UnitBinding | null {
    if (target < 0) return null
    if (lun < SMALL_LUN) return this.#small[target]![lun]!
    return this.#others.get(target * 65536 + lun) ?? null
  }
}
