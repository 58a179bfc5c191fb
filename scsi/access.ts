/**
 * Words that the owner of a logical unit and all threads share for each I_T_L nexus. PREVENTS: 1 while the nexus prevents the removal of
 * the medium (SPC-4 6.15).
 */
export const NEXUS_WORD = { ATTENTION: 0, ACCESS: 1, PREVENTS: 2, COUNT: 3 } as const

/** New shared memory for the words of a nexus: nothing pending, nothing reserved. */
export function createNexusWords(): Int32Array {
  return new Int32Array(new SharedArrayBuffer(NEXUS_WORD.COUNT * Int32Array.BYTES_PER_ELEMENT))
}

/** Bits of the access word: reservations of others that some commands of this nexus conflict with. 0: none. */
export const ACCESS = {
  /** A persistent reservation that lets others read. */
  WRITE_EXCLUSIVE: 1 << 0,
  /** One that does not. */
  EXCLUSIVE_ACCESS: 1 << 1,
  /** A reservation by RESERVE (SPC-2). */
  RESERVED: 1 << 2,
} as const

/**
 * With which of them a command conflicts: the rows of "commands that are allowed in the presence of various reservations" (SPC-4 table 65, SBC-3
 * table 13), and of the tables of SPC-2 and SBC for reservations by RESERVE.
 */
export const CONFLICTS = {
  NEVER: 0,
  /** Allowed through every persistent reservation. */
  RESERVED: ACCESS.RESERVED,
  /** What reads the medium, or tells of what the unit is made to be. */
  READS: ACCESS.EXCLUSIVE_ACCESS | ACCESS.RESERVED,
  /** What changes anything. */
  WRITES: ACCESS.WRITE_EXCLUSIVE | ACCESS.EXCLUSIVE_ACCESS | ACCESS.RESERVED,
} as const

/** CDBs of a command that conflict with nothing though the command does: those with `value` in the bits `mask` of a byte. */
export interface Exemption {
  readonly byte: number
  readonly mask: number
  readonly value: number
}
