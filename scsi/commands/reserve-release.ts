import { releaseUnit, reserveUnit } from '../reservations/reserve-release.js'
import type { Task } from '../task.js'
import { itNexus } from '../unit-reservations.js'
import type { Effects, UnitNexus, UnitServer } from '../unit-server.js'
import { conclude } from './reservation-outcome.js'

/**
 * RESERVE(6), RESERVE(10), RELEASE(6) and RELEASE(10) (SPC-2 7.16, 7.17, 7.21, 7.22). Extents and third parties, obsolete or optional there, are
 * refused by the command table.
 */
export function reserveOrRelease(task: Task): void {
  task.forward()
}

/** RESERVE in the unit's server. */
export function reserveForNexus(task: Task, server: UnitServer, nexus: UnitNexus): Effects | null {
  return conclude(task, server, nexus, reserveUnit(server.reservations.state, itNexus(nexus)))
}

/** RELEASE in the unit's server. */
export function releaseForNexus(task: Task, server: UnitServer, nexus: UnitNexus): Effects | null {
  return conclude(task, server, nexus, releaseUnit(server.reservations.state, itNexus(nexus)))
}
