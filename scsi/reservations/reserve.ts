import { SENSE } from '../sense.js'
import { ATTENTION } from '../unit-attention.js'
import { CONFLICT, done, failed, invalidCdb, nextGeneration, type Outcome, tell } from './outcome.js'
import { type ItNexus, isHolder, isSameNexus, type Reservations, reservationFor } from './state.js'
import { admitsRegistrants, isReservationType, LU_SCOPE } from './type.js'

/** Where a CDB of PERSISTENT RESERVE OUT has SCOPE and TYPE, and their highest bits. */
const SCOPE_AND_TYPE = 2
const SCOPE_BIT = 7
const TYPE_BIT = 3

/** Why a new reservation cannot have this scope and type; undefined: it can. */
export function refuseScopeAndType(scope: number, type: number): Outcome | undefined {
  if (scope !== LU_SCOPE) return invalidCdb(SCOPE_AND_TYPE, SCOPE_BIT)
  if (!isReservationType(type)) return invalidCdb(SCOPE_AND_TYPE, TYPE_BIT)
  return undefined
}

/** RESERVE (SPC-4 5.13.9) from a registered nexus. */
export function reserve(before: Reservations, nexus: ItNexus, scope: number, type: number): Outcome {
  const refused = refuseScopeAndType(scope, type)
  if (refused !== undefined) return refused
  const { persistent } = before
  if (persistent === null) return done({ ...before, persistent: reservationFor(type, nexus) })
  return isHolder(before, nexus) && persistent.type === type ? done(before) : CONFLICT
}

/** RELEASE (SPC-4 5.13.11.2.2) from a registered nexus. */
export function release(before: Reservations, nexus: ItNexus, scope: number, type: number): Outcome {
  const { persistent } = before
  if (persistent === null || !isHolder(before, nexus)) return done(before)
  if (scope !== LU_SCOPE || type !== persistent.type) {
    return failed(SENSE.INVALID_RELEASE_OF_PERSISTENT_RESERVATION)
  }
  const told = admitsRegistrants(type) ? others(before, nexus) : []
  return done({ ...before, persistent: null }, tell(told, ATTENTION.RESERVATIONS_RELEASED))
}

/** CLEAR (SPC-4 5.13.11.2.7) from a registered nexus. */
export function clear(before: Reservations, nexus: ItNexus): Outcome {
  const notices = tell(others(before, nexus), ATTENTION.RESERVATIONS_PREEMPTED)
  return done(nextGeneration({ ...before, registrants: [], persistent: null }), notices)
}

function others({ registrants }: Reservations, nexus: ItNexus): ItNexus[] {
  return registrants.filter((each) => !isSameNexus(each, nexus))
}
