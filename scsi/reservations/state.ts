import { ACCESS } from '../access.js'
import { admitsRegistrants, isHeldByAll, isWriteExclusive } from './type.js'

/** An I_T nexus (SAM-5 4.7): an initiator port that reaches the unit through a target port. */
export interface ItNexus {
  /** SAS address of the initiator port: 16 hex digits in lower case. */
  readonly initiator: string
  /** RELATIVE TARGET PORT IDENTIFIER, 1 to 65535. */
  readonly port: number
}

export interface Registrant extends ItNexus {
  /** Reservation key: 16 hex digits in lower case, not all 0. */
  readonly key: string
}

export interface PersistentReservation {
  /** RESERVATION_TYPE. */
  readonly type: number
  /** null: all who are registered. */
  readonly holder: ItNexus | null
}

/** All reservations of a logical unit, as a value. */
export interface Reservations {
  /** PRGENERATION, an unsigned 32-bit number. */
  readonly generation: number
  /** The last valid APTPL: what is here survives a power loss. */
  readonly aptpl: boolean
  /** In the order in which they registered. */
  readonly registrants: readonly Registrant[]
  readonly persistent: PersistentReservation | null
  /** Who has reserved the unit by RESERVE (SPC-2 7.21); then nobody is registered. */
  readonly reserved: ItNexus | null
}

export const NO_RESERVATIONS: Reservations = {
  generation: 0,
  aptpl: false,
  registrants: [],
  persistent: null,
  reserved: null,
}

/** The most registrations that a logical unit keeps. */
export const MAX_REGISTRANTS = 512

/** The reservation key that stands for none. */
export const NO_KEY = '0000000000000000'

export function isSameNexus(a: ItNexus, b: ItNexus): boolean {
  return a.initiator === b.initiator && a.port === b.port
}

export function registrantOf({ registrants }: Reservations, nexus: ItNexus): Registrant | undefined {
  return registrants.find((each) => isSameNexus(each, nexus))
}

/** Whether the nexus is a persistent reservation holder (SPC-4 5.13.10). */
export function isHolder(reservations: Reservations, nexus: ItNexus): boolean {
  const { persistent } = reservations
  if (persistent === null) return false
  if (persistent.holder !== null) return isSameNexus(persistent.holder, nexus)
  return registrantOf(reservations, nexus) !== undefined
}

/** A reservation of `type` for a nexus. */
export function reservationFor(type: number, { initiator, port }: ItNexus): PersistentReservation {
  return { type, holder: isHeldByAll(type) ? null : { initiator, port } }
}

/**
 * What a power loss leaves: with APTPL registrations and the persistent reservation, else nothing (SPC-4 5.13.5). PRGENERATION begins
 * anew.
 */
export function afterPowerLoss({ aptpl, registrants, persistent }: Reservations): Reservations {
  return aptpl ? { ...NO_RESERVATIONS, aptpl, registrants, persistent } : NO_RESERVATIONS
}

/** The access word of a nexus: which commands conflict (ACCESS bits; SPC-4 table 65, SPC-2 5.5.1). */
export function accessOf(reservations: Reservations, nexus: ItNexus): number {
  const { reserved, persistent } = reservations
  if (reserved !== null) return isSameNexus(reserved, nexus) ? 0 : ACCESS.RESERVED
  if (persistent === null || isHolder(reservations, nexus)) return 0
  if (admitsRegistrants(persistent.type) && registrantOf(reservations, nexus) !== undefined) return 0
  return isWriteExclusive(persistent.type) ? ACCESS.WRITE_EXCLUSIVE : ACCESS.EXCLUSIVE_ACCESS
}
