import { LogicalUnit, Nexus, Target, type UnitConfig, UnitState } from '../../../scsi/index.js'
import { Initiator } from './initiator.js'
import { Medium } from './medium.js'

export const CONFIG: UnitConfig = {
  blockSize: 512,
  physicalBlockSize: 4096,
  vendor: 'VENDOR',
  product: 'A PRODUCT',
  revision: '1.0',
  serial: 'SERIAL-1',
  wwn: '3001020304050607',
  rotationRate: 1,
  removable: false,
  discard: true,
  readOnly: false,
}

/** Enough for every range that the tests write. */
export const BLOCKS = 2048

export function attentionWord(): Int32Array {
  return new Int32Array(new SharedArrayBuffer(4))
}

export interface Fixture {
  readonly unit: LogicalUnit
  readonly state: UnitState
  readonly nexus: Nexus
  readonly target: Target
  readonly medium: Medium
  readonly initiator: Initiator
}

/**
 * A target 0 with a LUN 0 of BLOCKS blocks (on a medium of that size), and an initiator. No unit attention is pending.
 */
export function fixture(
  changes: Partial<UnitConfig> = {},
  options: { capacity?: number; readOnly?: boolean } = {},
): Fixture {
  const config = { ...CONFIG, ...changes }
  const state = UnitState.create(options.capacity ?? BLOCKS)
  const unit = new LogicalUnit(config, state)
  const nexus = new Nexus(unit, 0, 0, attentionWord(), options.readOnly ?? false)
  const target = new Target(0)
  target.add(nexus)
  const medium = new Medium(BLOCKS * config.blockSize)
  return { unit, state, nexus, target, medium, initiator: new Initiator((task) => target.execute(0, task), medium) }
}
