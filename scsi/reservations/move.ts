import { SENSE } from '../sense.js'
import { CONFLICT, done, failed, invalidCdb, invalidParameter, nextGeneration, type Outcome } from './outcome.js'
import { destinationInitiator, hasBit, keysOf, MOVE_BIT, MOVE_LIST, OUT_LIST, portAt } from './parameter-list.js'
import { unregister, withRegistrant } from './register.js'
import type { ReserveOutContext } from './reserve-out.js'
import { isHolder, MAX_REGISTRANTS, NO_KEY, type Reservations, reservationFor } from './state.js'

/** Byte and highest bit of the SERVICE ACTION. */
const SERVICE_ACTION = 1
const SERVICE_ACTION_BIT = 4

/** REGISTER AND MOVE (SPC-4 5.13.8, table 70) from a registered nexus. */
export function registerAndMove(before: Reservations, list: Uint8Array, context: ReserveOutContext): Outcome {
  const { nexus, ports } = context
  const { persistent } = before
  if (persistent === null) return invalidCdb(SERVICE_ACTION, SERVICE_ACTION_BIT)
  if (persistent.holder === null || !isHolder(before, nexus)) return CONFLICT
  const { actionKey } = keysOf(list)
  if (actionKey === NO_KEY) return invalidParameter(OUT_LIST.ACTION_KEY)
  const aptpl = hasBit(list, MOVE_LIST.FLAGS, MOVE_BIT.APTPL)
  if (aptpl && !context.persistent) return invalidParameter(MOVE_LIST.FLAGS, MOVE_BIT.APTPL)
  const port = portAt(list)
  if (!ports.includes(port)) return invalidParameter(MOVE_LIST.PORT)
  const initiator = destinationInitiator(list)
  if (typeof initiator !== 'string') return initiator
  if (initiator === nexus.initiator) return invalidParameter(MOVE_LIST.TRANSPORT_ID)
  const destination = { initiator, port, key: actionKey }
  const moved = {
    ...withRegistrant(before, destination),
    aptpl,
    persistent: reservationFor(persistent.type, destination),
  }
  const after = hasBit(list, MOVE_LIST.FLAGS, MOVE_BIT.UNREG) ? unregister(moved, nexus).reservations : moved
  if (after.registrants.length > MAX_REGISTRANTS) return failed(SENSE.INSUFFICIENT_REGISTRATION_RESOURCES)
  return done(nextGeneration(after))
}
