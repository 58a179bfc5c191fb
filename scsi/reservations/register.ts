import { SENSE } from '../sense.js'
import { ATTENTION } from '../unit-attention.js'
import { CONFLICT, done, failed, invalidParameter, type Notice, nextGeneration, type Outcome, tell } from './outcome.js'
import { hasBit, keysOf, OUT_BIT, OUT_LIST, specifiedInitiators } from './parameter-list.js'
import type { ReserveOutContext } from './reserve-out.js'
import {
  type ItNexus,
  isHolder,
  isSameNexus,
  MAX_REGISTRANTS,
  NO_KEY,
  type Registrant,
  type Reservations,
  registrantOf,
} from './state.js'
import { admitsRegistrants, isHeldByAll } from './type.js'

/** REGISTER (SPC-4 5.13.7, table 67). */
export function register(before: Reservations, list: Uint8Array, context: ReserveOutContext): Outcome {
  const { nexus, ports } = context
  const { key, actionKey } = keysOf(list)
  const own = registrantOf(before, nexus)
  if (key !== (own?.key ?? NO_KEY)) return CONFLICT
  const refused = refusePersistence(list, context)
  if (refused !== undefined) return refused
  const targets = hasBit(list, OUT_LIST.FLAGS, OUT_BIT.ALL_TG_PT) ? ports : [nexus.port]
  if (!hasBit(list, OUT_LIST.FLAGS, OUT_BIT.SPEC_I_PT) || (own === undefined && actionKey === NO_KEY)) {
    return registerAll(before, list, nexus, [nexus.initiator], targets, key)
  }
  if (own !== undefined) return invalidParameter(OUT_LIST.FLAGS, OUT_BIT.SPEC_I_PT)
  const initiators = specifiedInitiators(list)
  if (!isList(initiators)) return initiators
  for (const initiator of initiators) {
    for (const port of targets) {
      if (registrantOf(before, { initiator, port }) !== undefined) return invalidParameter(OUT_LIST.TRANSPORT_IDS)
    }
  }
  const all = [nexus.initiator, ...initiators.filter((each) => each !== nexus.initiator)]
  return registerAll(before, list, nexus, all, targets, key)
}

/** REGISTER AND IGNORE EXISTING KEY (SPC-4 5.13.7, table 68). */
export function registerAndIgnore(before: Reservations, list: Uint8Array, context: ReserveOutContext): Outcome {
  const { nexus, ports } = context
  if (hasBit(list, OUT_LIST.FLAGS, OUT_BIT.SPEC_I_PT)) return invalidParameter(OUT_LIST.FLAGS, OUT_BIT.SPEC_I_PT)
  const refused = refusePersistence(list, context)
  if (refused !== undefined) return refused
  const targets = hasBit(list, OUT_LIST.FLAGS, OUT_BIT.ALL_TG_PT) ? ports : [nexus.port]
  return registerAll(before, list, nexus, [nexus.initiator], targets, null)
}

function isList(value: readonly string[] | Outcome): value is readonly string[] {
  return Array.isArray(value)
}

function refusePersistence(list: Uint8Array, { persistent }: ReserveOutContext): Outcome | undefined {
  if (persistent || !hasBit(list, OUT_LIST.FLAGS, OUT_BIT.APTPL)) return undefined
  return invalidParameter(OUT_LIST.FLAGS, OUT_BIT.APTPL)
}

/**
 * Registers each initiator port at each target port, as if each were asked for through the target port itself (SPC-4 6.16.3): all of it, or
 * nothing.
 *
 * @param key that each of them is to have now; null: whatever it has
 */
function registerAll(
  before: Reservations,
  list: Uint8Array,
  sender: ItNexus,
  initiators: readonly string[],
  ports: readonly number[],
  key: string | null,
): Outcome {
  const { actionKey } = keysOf(list)
  let after = before
  const notices: Notice[] = []
  for (const initiator of initiators) {
    for (const port of ports) {
      const nexus = { initiator, port }
      const existing = registrantOf(after, nexus)
      if (key !== null && key !== (existing?.key ?? NO_KEY)) return CONFLICT
      if (actionKey === NO_KEY) {
        const left = unregister(after, nexus)
        notices.push(...left.notices.filter((each) => !isSameNexus(each.nexus, sender)))
        after = left.reservations
      } else {
        after = withRegistrant(after, { ...nexus, key: actionKey })
      }
    }
  }
  if (after.registrants.length > MAX_REGISTRANTS) return failed(SENSE.INSUFFICIENT_REGISTRATION_RESOURCES)
  const aptpl = hasBit(list, OUT_LIST.FLAGS, OUT_BIT.APTPL)
  return done(nextGeneration({ ...after, aptpl }), notices)
}

/** With a registration that is new, or has a new key. */
export function withRegistrant(reservations: Reservations, registrant: Registrant): Reservations {
  const { registrants } = reservations
  const known = registrants.some((each) => isSameNexus(each, registrant))
  return {
    ...reservations,
    registrants: known
      ? registrants.map((each) => (isSameNexus(each, registrant) ? registrant : each))
      : [...registrants, registrant],
  }
}

/** Removes a registration, and releases what the nexus alone has reserved (SPC-4 5.13.11.2.3). */
export function unregister(
  before: Reservations,
  nexus: ItNexus,
): { readonly reservations: Reservations; readonly notices: readonly Notice[] } {
  const { persistent } = before
  const registrants = before.registrants.filter((each) => !isSameNexus(each, nexus))
  const releases =
    persistent !== null && isHolder(before, nexus) && (!isHeldByAll(persistent.type) || registrants.length === 0)
  if (!releases) return { reservations: { ...before, registrants }, notices: [] }
  return {
    reservations: { ...before, registrants, persistent: null },
    notices: admitsRegistrants(persistent.type) ? tell(registrants, ATTENTION.RESERVATIONS_RELEASED) : [],
  }
}
