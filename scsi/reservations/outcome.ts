import { SENSE, type SenseCode } from '../sense.js'
import type { ItNexus, Reservations } from './state.js'

/** A unit attention for the initiator port of a nexus. */
export interface Notice {
  readonly nexus: ItNexus
  /** ATTENTION. */
  readonly condition: number
}

/** What a service action comes to. Nothing has changed unless it is done. */
export type Outcome =
  | {
      readonly kind: 'done'
      readonly reservations: Reservations
      readonly notices: readonly Notice[]
      /** Whose commands are to be aborted. */
      readonly preempted: readonly ItNexus[]
    }
  | { readonly kind: 'conflict' }
  /** CHECK CONDITION; `byte` and `bit` (-1: none) point at a field of the CDB or of the parameter list. */
  | { readonly kind: 'failed'; readonly sense: SenseCode; readonly byte: number; readonly bit: number }

export const CONFLICT: Outcome = { kind: 'conflict' }

export function done(
  reservations: Reservations,
  notices: readonly Notice[] = [],
  preempted: readonly ItNexus[] = [],
): Outcome {
  return { kind: 'done', reservations, notices, preempted }
}

export function invalidParameter(byte: number, bit = -1): Outcome {
  return { kind: 'failed', sense: SENSE.INVALID_FIELD_IN_PARAMETER_LIST, byte, bit }
}

export function invalidCdb(byte: number, bit = -1): Outcome {
  return { kind: 'failed', sense: SENSE.INVALID_FIELD_IN_CDB, byte, bit }
}

/** CHECK CONDITION without a field to point at. */
export function failed(sense: SenseCode): Outcome {
  return { kind: 'failed', sense, byte: -1, bit: -1 }
}

export function tell(nexuses: readonly ItNexus[], condition: number): Notice[] {
  return nexuses.map((nexus) => ({ nexus, condition }))
}

/** The same reservations one generation later (SPC-4 6.15.2). */
export function nextGeneration(reservations: Reservations): Reservations {
  return { ...reservations, generation: (reservations.generation + 1) >>> 0 }
}
