import {
  createNexusWords,
  LogicalUnit,
  Nexus,
  Target,
  type Task,
  type UnitConfig,
  type UnitNexus,
  UnitServer,
  UnitState,
} from '../../../scsi/index.js'
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
  atomicWrites: true,
  readOnly: false,
}

/** Enough for every range that the tests write. */
export const BLOCKS = 2048

export function attentionWord(): Int32Array {
  return createNexusWords()
}

export interface Fixture {
  readonly unit: LogicalUnit
  readonly state: UnitState
  readonly nexus: Nexus
  readonly target: Target
  readonly medium: Medium
  readonly initiator: Initiator
  /** Of all nexuses that the fixture has or is given. */
  readonly server: UnitServer
  /** What the server knows `nexus` by. */
  readonly unitNexus: UnitNexus
  /** Another controller's nexus with the unit, and its initiator. */
  join(controller: string): { readonly nexus: Nexus; readonly unitNexus: UnitNexus; readonly initiator: Initiator }
  /** The end of a nexus. */
  leave(unitNexus: UnitNexus): void
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
  const medium = new Medium(BLOCKS * config.blockSize)
  const unitNexuses = new Set<UnitNexus>()
  const server = new UnitServer(unit, unitNexuses)
  const reachable = () => [...unitNexuses].map((nexus) => ({ nexus, server }))
  const join = (controller: string, readOnly = false) => {
    const nexus = new Nexus(unit, 0, 0, attentionWord(), readOnly)
    const target = new Target(0)
    target.add(nexus)
    const { attention } = nexus
    const relative = unitNexuses.size + 1
    const port = { relative, name: `300000000000000${relative}` }
    const initiatorPort = `30000000000000${relative.toString(16).padStart(2, '0')}`
    const at = { controller, port, initiator: initiatorPort, target: 0, lun: 0 }
    const unitNexus: UnitNexus = { ...at, readOnly: nexus.readOnly, attention, reachable }
    unitNexuses.add(unitNexus)
    const serve = (task: Task) => server.execute(task, unitNexus)
    const initiator = new Initiator((task) => target.execute(0, task), medium, serve)
    return { nexus, unitNexus, target, initiator }
  }
  const first = join('vm', options.readOnly ?? false)
  return { unit, state, medium, server, join, leave: (each) => unitNexuses.delete(each), ...first }
}
