import type { Nexus } from '../scsi/index.js'
import type { Driver } from './drivers/driver.js'

/** A logical unit as one controller's queues on one IOThread see it. */
export interface UnitBinding {
  /** Its place in the controller's list of LUNs: what statistics name it by. */
  readonly index: number
  readonly target: number
  readonly lun: number
  readonly nexus: Nexus
  readonly driver: Driver
}
