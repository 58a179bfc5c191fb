/** Persistent reservation types (SPC-4 6.15.3.4). */
export const RESERVATION_TYPE = {
  WRITE_EXCLUSIVE: 0x1,
  EXCLUSIVE_ACCESS: 0x3,
  WRITE_EXCLUSIVE_REGISTRANTS_ONLY: 0x5,
  EXCLUSIVE_ACCESS_REGISTRANTS_ONLY: 0x6,
  WRITE_EXCLUSIVE_ALL_REGISTRANTS: 0x7,
  EXCLUSIVE_ACCESS_ALL_REGISTRANTS: 0x8,
} as const

/** The one scope there is: the logical unit (SPC-4 6.15.3.3). */
export const LU_SCOPE = 0

const TYPES: ReadonlySet<number> = new Set(Object.values(RESERVATION_TYPE))
const WRITE_EXCLUSIVE: ReadonlySet<number> = new Set([
  RESERVATION_TYPE.WRITE_EXCLUSIVE,
  RESERVATION_TYPE.WRITE_EXCLUSIVE_REGISTRANTS_ONLY,
  RESERVATION_TYPE.WRITE_EXCLUSIVE_ALL_REGISTRANTS,
])

export function isReservationType(type: number): boolean {
  return TYPES.has(type)
}

/** Whether others may still read; else the type is one of exclusive access. */
export function isWriteExclusive(type: number): boolean {
  return WRITE_EXCLUSIVE.has(type)
}

/** Registrants only or all registrants: whoever is registered may do everything. */
export function admitsRegistrants(type: number): boolean {
  return type >= RESERVATION_TYPE.WRITE_EXCLUSIVE_REGISTRANTS_ONLY
}

/** Whether every registered I_T nexus is a holder. */
export function isHeldByAll(type: number): boolean {
  return type >= RESERVATION_TYPE.WRITE_EXCLUSIVE_ALL_REGISTRANTS
}
