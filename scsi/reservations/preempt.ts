import { ATTENTION } from '../unit-attention.js'
import { CONFLICT, done, invalidParameter, nextGeneration, type Outcome, tell } from './outcome.js'
import { OUT_LIST } from './parameter-list.js'
import { refuseScopeAndType } from './reserve.js'
import { type ItNexus, isSameNexus, NO_KEY, type Reservations, registrantOf, reservationFor } from './state.js'

/**
 * PREEMPT, and what PREEMPT AND ABORT has of it (SPC-4 5.13.11.2.4 to 5.13.11.2.6), from a registered nexus. The outcome's `preempted` are
 * all that SERVICE ACTION RESERVATION KEY means: the sender may be one of them, and keep its registration.
 */
export function preempt(before: Reservations, nexus: ItNexus, scope: number, type: number, actionKey: string): Outcome {
  const { persistent, registrants } = before
  const isHeldByAll = persistent !== null && persistent.holder === null
  if (actionKey === NO_KEY && !isHeldByAll) return invalidParameter(OUT_LIST.ACTION_KEY)
  const holder = persistent?.holder
  const holderKey = holder ? registrantOf(before, holder)?.key : isHeldByAll ? NO_KEY : undefined
  if (actionKey === holderKey) return replace(before, nexus, scope, type, actionKey)
  const preempted = registrants.filter((each) => each.key === actionKey)
  if (preempted.length === 0) return CONFLICT
  const left = registrants.filter((each) => each.key !== actionKey)
  const after = { ...before, registrants: left, persistent: left.length === 0 ? null : persistent }
  return done(nextGeneration(after), tellPreempted(preempted, nexus), preempted)
}

/** Preempts the persistent reservation: the sender's takes its place. @param actionKey NO_KEY: all others lose their registration */
function replace(before: Reservations, nexus: ItNexus, scope: number, type: number, actionKey: string): Outcome {
  const refused = refuseScopeAndType(scope, type)
  if (refused !== undefined) return refused
  const stays = (each: ItNexus & { readonly key: string }): boolean =>
    isSameNexus(each, nexus) || (actionKey !== NO_KEY && each.key !== actionKey)
  const left = before.registrants.filter(stays)
  const preempted = before.registrants.filter((each) => actionKey === NO_KEY || each.key === actionKey)
  const notices = tellPreempted(preempted, nexus)
  if (type !== before.persistent!.type) {
    const others = left.filter((each) => !isSameNexus(each, nexus))
    notices.push(...tell(others, ATTENTION.RESERVATIONS_RELEASED))
  }
  const after = { ...before, registrants: left, persistent: reservationFor(type, nexus) }
  return done(nextGeneration(after), notices, preempted)
}

function tellPreempted(preempted: readonly ItNexus[], sender: ItNexus) {
  return tell(
    preempted.filter((each) => !isSameNexus(each, sender)),
    ATTENTION.REGISTRATIONS_PREEMPTED,
  )
}
