import type { Nexus } from '../scsi/index.js'
import type { Driver } from './drivers/driver.js'
import type { Request } from './request.js'
import type { WriteGate } from './write-gate.js'

/** A logical unit as one controller's queues on one IOThread see it. */
export interface UnitBinding {
  /** What statistics name it by: its place among all LUNs that the controller ever had. */
  readonly index: number
  readonly target: number
  readonly lun: number
  readonly nexus: Nexus
  readonly driver: Driver
  /** What operations of all controllers pass; see WriteGate. */
  readonly gate: WriteGate<Request>
}
