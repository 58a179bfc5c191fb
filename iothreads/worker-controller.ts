import { ERRNO } from 'memfd-mmap'
import { GuestMemory, type MappedRegion } from 'vhost-user-protocol-ts'
import { LogicalUnit, Nexus, Target, UnitState } from '../scsi/index.js'
import type { DelayLine } from './delay-line.js'
import type { Driver } from './drivers/driver.js'
import { FileDriver } from './drivers/file.js'
import { MemoryDriver } from './drivers/memory.js'
import { NullDriver } from './drivers/null.js'
import { ReadOnlyDriver } from './drivers/read-only.js'
import type { EventEngine } from './event-engine.js'
import type { Forwarding } from './forwarding.js'
import type { Medium, UnitSpec } from './messages.js'
import type { Request } from './request.js'
import type { RequestQueue } from './request-queue.js'
import type { SyncIo } from './sync-io.js'
import { UnitMap } from './unit-map.js'
import type { WriteGates } from './write-gates.js'

/** What drivers are made from. */
export interface DriverParts {
  readonly engine: EventEngine
  readonly inlineIo: SyncIo
  readonly ended: (request: Request, result: number) => void
  readonly gates: WriteGates<Request>
}

export function createDriver(medium: Medium, parts: DriverParts): Driver {
  switch (medium.kind) {
    case 'file':
      return new FileDriver(medium.inline ? parts.inlineIo : parts.engine.io, medium.fd)
    case 'memory':
      return new MemoryDriver(medium.fd, medium.address)
    case 'null':
      return new NullDriver(medium.delayNs, parts.ended)
  }
}

/** A controller's logical units in one IOThread, and what they have of it. */
interface Units {
  readonly map: UnitMap
  /** Of drivers that hold requests back. */
  readonly delayLines: readonly DelayLine[]
  /** Of files that the engine's I/O uses. */
  readonly files: readonly number[]
  /** The memories of their write gates. */
  readonly gates: readonly SharedArrayBuffer[]
}

/** A list with a unit that is refused leaves nothing behind. */
function makeUnits(specs: readonly UnitSpec[], parts: DriverParts): Units {
  const map = new UnitMap()
  const delayLines: DelayLine[] = []
  const files: number[] = []
  const gates: SharedArrayBuffer[] = []
  const targets = new Map<number, Target>()
  const logicalUnits = specs.map((spec) => new LogicalUnit(spec.config, new UnitState(spec.state), spec.port ?? null))
  specs.forEach((spec, i) => {
    const unit = logicalUnits[i]!
    const nexus = new Nexus(unit, spec.target, spec.lun, new Int32Array(spec.attention), spec.readOnly)
    let target = targets.get(spec.target)
    if (target === undefined) {
      target = new Target(spec.target)
      targets.set(spec.target, target)
      map.addTarget(spec.target, target)
    }
    target.add(nexus)
    const plain = createDriver(spec.medium, parts)
    const driver = nexus.readOnly ? new ReadOnlyDriver(plain) : plain
    if (driver.delayLine !== null) delayLines.push(driver.delayLine)
    const gate = parts.gates.open(spec.gate, spec.config.atomicWrites === true)
    gates.push(spec.gate)
    map.addUnit({ index: spec.place ?? i, target: spec.target, lun: spec.lun, nexus, driver, gate })
    if (spec.medium.kind === 'file' && !spec.medium.inline) files.push(spec.medium.fd)
  })
  for (const fd of files) parts.engine.addFile(fd)
  return { map, delayLines, files, gates }
}

/** One controller in one IOThread: its units, its guest's memory, and those of its queues that run here. */
export class WorkerController {
  /** Queues by virtqueue index. */
  readonly queues = new Map<number, RequestQueue>()
  memory = new GuestMemory([])
  readonly forwarding: Forwarding
  #units: Units

  constructor(units: readonly UnitSpec[], parts: DriverParts, forwarding: Forwarding) {
    this.forwarding = forwarding
    this.#units = makeUnits(units, parts)
  }

  get units(): UnitMap {
    return this.#units.map
  }

  get delayLines(): readonly DelayLine[] {
    return this.#units.delayLines
  }

  /** Lets go of everything. No queue is started. */
  close(parts: DriverParts): void {
    this.setMemory([])
    this.#forget(this.#units, parts)
  }

  /** Drops the old memory, and all views of it, for the new. */
  setMemory(regions: readonly MappedRegion[]): void {
    this.#checkAtRest('memory')
    this.memory = new GuestMemory(regions)
  }

  /** Has other units from now on. What is shared of one that stays (its state, its unit attentions) is as it was. */
  setUnits(units: readonly UnitSpec[], parts: DriverParts): void {
    this.#checkAtRest('units')
    const old = this.#units
    this.#units = makeUnits(units, parts)
    this.#forget(old, parts)
  }

  #forget({ files, gates }: Units, parts: DriverParts): void {
    for (const fd of files) parts.engine.removeFile(fd)
    for (const gate of gates) parts.gates.close(gate)
  }

  #checkAtRest(what: string): void {
    if (this.queues.size > 0) throw new Error(`${what} of a controller with started queues, errno ${ERRNO.EBUSY}`)
  }
}
