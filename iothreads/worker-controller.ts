import { ERRNO } from 'memfd-mmap'
import { GuestMemory, type MappedRegion } from 'vhost-user-protocol-ts'
import { LogicalUnit, Nexus, Target, UnitState } from '../scsi/index.js'
import type { DelayLine } from './delay-line.js'
import type { Driver } from './drivers/driver.js'
import { FileDriver } from './drivers/file.js'
import { MemoryDriver } from './drivers/memory.js'
import { NullDriver } from './drivers/null.js'
import type { EventEngine } from './event-engine.js'
import type { Medium, UnitSpec } from './messages.js'
import type { Request } from './request.js'
import type { RequestQueue } from './request-queue.js'
import type { SyncIo } from './sync-io.js'
import { UnitMap } from './unit-map.js'

/** What drivers are made from. */
export interface DriverParts {
  readonly engine: EventEngine
  readonly inlineIo: SyncIo
  readonly ended: (request: Request, result: number) => void
}

function createDriver(medium: Medium, parts: DriverParts): Driver {
  switch (medium.kind) {
    case 'file':
      return new FileDriver(medium.inline ? parts.inlineIo : parts.engine.io, medium.fd)
    case 'memory':
      return new MemoryDriver(medium.fd, medium.address)
    case 'null':
      return new NullDriver(medium.delayNs, parts.ended)
  }
}

/** One controller in one IOThread: its units, its guest's memory, and those of its queues that run here. */
export class WorkerController {
  readonly units = new UnitMap()
  /** Queues by virtqueue index. */
  readonly queues = new Map<number, RequestQueue>()
  /** Of drivers that hold requests back. */
  readonly delayLines: DelayLine[] = []
  memory = new GuestMemory([])
  /** Of files that the engine's I/O uses. */
  readonly #files: number[] = []

  constructor(units: readonly UnitSpec[], parts: DriverParts) {
    const targets = new Map<number, Target>()
    units.forEach((spec, index) => {
      const unit = new LogicalUnit(spec.config, new UnitState(spec.state))
      const nexus = new Nexus(unit, spec.target, spec.lun, new Int32Array(spec.attention), spec.readOnly)
      let target = targets.get(spec.target)
      if (target === undefined) {
        target = new Target(spec.target)
        targets.set(spec.target, target)
        this.units.addTarget(spec.target, target)
      }
      target.add(nexus)
      const driver = createDriver(spec.medium, parts)
      if (driver.delayLine !== null) this.delayLines.push(driver.delayLine)
      this.units.addUnit({ index, target: spec.target, lun: spec.lun, nexus, driver })
      if (spec.medium.kind === 'file' && !spec.medium.inline) this.#files.push(spec.medium.fd)
    })
    // Last: a unit that is refused leaves nothing behind.
    for (const fd of this.#files) parts.engine.addFile(fd)
  }

  /** Lets go of everything. No queue is started. */
  close(parts: DriverParts): void {
    this.setMemory([])
    for (const fd of this.#files) parts.engine.removeFile(fd)
  }

  /** Drops the old memory, and all views of it, for the new. */
  setMemory(regions: readonly MappedRegion[]): void {
    if (this.queues.size > 0) throw new Error(`memory of a controller with started queues, errno ${ERRNO.EBUSY}`)
    this.memory = new GuestMemory(regions)
  }
}
