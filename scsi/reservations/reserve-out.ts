import { SENSE } from '../sense.js'
import { registerAndMove } from './move.js'
import { CONFLICT, failed, invalidCdb, invalidParameter, type Outcome } from './outcome.js'
import { hasBit, keysOf, OUT_BIT, OUT_LIST } from './parameter-list.js'
import { preempt } from './preempt.js'
import { register, registerAndIgnore } from './register.js'
import { clear, release, reserve } from './reserve.js'
import { type ItNexus, type Reservations, registrantOf } from './state.js'

/** Service actions of PERSISTENT RESERVE OUT (SPC-4 6.16.2). */
export const RESERVE_OUT = {
  REGISTER: 0x00,
  RESERVE: 0x01,
  RELEASE: 0x02,
  CLEAR: 0x03,
  PREEMPT: 0x04,
  PREEMPT_AND_ABORT: 0x05,
  REGISTER_AND_IGNORE_EXISTING_KEY: 0x06,
  REGISTER_AND_MOVE: 0x07,
} as const

/** A PERSISTENT RESERVE OUT command. */
export interface ReserveOut {
  /** RESERVE_OUT. */
  readonly action: number
  readonly scope: number
  readonly type: number
  /** The parameter list, OUT_LIST.SIZE bytes or more. */
  readonly list: Uint8Array
}

/** Where the command came from, and what the unit can do. */
export interface ReserveOutContext {
  readonly nexus: ItNexus
  /** The RELATIVE TARGET PORT IDENTIFIERs of all target ports through which the unit is reached. */
  readonly ports: readonly number[]
  /** Whether reservations can be kept through a power loss (PTPL_C). */
  readonly persistent: boolean
}

/** What PERSISTENT RESERVE OUT (SPC-4 6.16) makes of the reservations. */
export function reserveOut(before: Reservations, command: ReserveOut, context: ReserveOutContext): Outcome {
  const { action, scope, type, list } = command
  const { nexus } = context
  if (before.reserved !== null) return CONFLICT
  const specifies = action !== RESERVE_OUT.REGISTER_AND_MOVE && hasBit(list, OUT_LIST.FLAGS, OUT_BIT.SPEC_I_PT)
  if (!specifies && action !== RESERVE_OUT.REGISTER_AND_MOVE && list.length !== OUT_LIST.SIZE) {
    return failed(SENSE.PARAMETER_LIST_LENGTH_ERROR)
  }
  if (action === RESERVE_OUT.REGISTER) return register(before, list, context)
  if (action === RESERVE_OUT.REGISTER_AND_IGNORE_EXISTING_KEY) return registerAndIgnore(before, list, context)
  const { key, actionKey } = keysOf(list)
  if (registrantOf(before, nexus)?.key !== key) return CONFLICT
  if (specifies) return invalidParameter(OUT_LIST.FLAGS, OUT_BIT.SPEC_I_PT)
  switch (action) {
    case RESERVE_OUT.RESERVE:
      return reserve(before, nexus, scope, type)
    case RESERVE_OUT.RELEASE:
      return release(before, nexus, scope, type)
    case RESERVE_OUT.CLEAR:
      return clear(before, nexus)
    case RESERVE_OUT.PREEMPT:
    case RESERVE_OUT.PREEMPT_AND_ABORT:
      return preempt(before, nexus, scope, type, actionKey)
    case RESERVE_OUT.REGISTER_AND_MOVE:
      return registerAndMove(before, list, context)
    default:
      return invalidCdb(1, 4)
  }
}
