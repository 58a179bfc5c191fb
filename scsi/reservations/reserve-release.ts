import { CONFLICT, done, type Outcome } from './outcome.js'
import { type ItNexus, isHolder, isSameNexus, type Reservations, registrantOf } from './state.js'
import { admitsRegistrants } from './type.js'

/** RESERVE(6) and RESERVE(10) (SPC-2 7.21, 7.22): the whole unit for one nexus. */
export function reserveUnit(before: Reservations, nexus: ItNexus): Outcome {
  const { reserved, registrants } = before
  if (registrants.length > 0) return amongRegistrants(before, nexus)
  if (reserved !== null) return isSameNexus(reserved, nexus) ? done(before) : CONFLICT
  const { initiator, port } = nexus
  return done({ ...before, reserved: { initiator, port } })
}

/** RELEASE(6) and RELEASE(10) (SPC-2 7.16, 7.17): nothing happens unless the nexus has reserved the unit. */
export function releaseUnit(before: Reservations, nexus: ItNexus): Outcome {
  if (before.registrants.length > 0) return amongRegistrants(before, nexus)
  return done(withoutReserve(before, nexus))
}

/** Ends a reservation by RESERVE: of one nexus that is lost, or whoever's it is. */
export function withoutReserve(before: Reservations, nexus?: ItNexus | undefined): Reservations {
  const { reserved } = before
  if (reserved === null || (nexus !== undefined && !isSameNexus(reserved, nexus))) return before
  return { ...before, reserved: null }
}

/**
 * While somebody is registered these commands conflict (SPC-2 5.5.1), but are GOOD and change nothing for who may use the unit by a persistent
 * reservation (SPC-4 5.13.3; CRH is 1).
 */
function amongRegistrants(before: Reservations, nexus: ItNexus): Outcome {
  const { persistent } = before
  if (isHolder(before, nexus)) return done(before)
  if (persistent !== null && admitsRegistrants(persistent.type) && registrantOf(before, nexus) !== undefined) {
    return done(before)
  }
  return CONFLICT
}
