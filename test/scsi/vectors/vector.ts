import type { UnitConfig } from '../../../scsi/index.js'
import type { Fixture } from '../support/fixture.js'

/**
 * A command and its answer, byte for byte, at a unit as `fixture` makes it: 2048 blocks of 512 bytes, thin provisioned, with nothing pending.
 * All bytes are hex as `bytes` reads it.
 */
export interface Vector {
  /** As the command table has it. */
  readonly command: string
  /** The CDB; what is missing of 32 bytes is 0. */
  readonly cdb: string
  readonly config?: Partial<UnitConfig>
  /** What happens before. */
  readonly before?: (fixture: Fixture) => void
  /** The data-out buffer; by default empty. */
  readonly out?: string
  /** Bytes of the data-in buffer; by default 65536. */
  readonly in?: number
  /** Data-in; by default none. */
  readonly data?: string
  /** Status; by default GOOD, or CHECK CONDITION with `sense`. */
  readonly status?: number
  readonly sense?: string
  /** What is left of the buffer of the command's direction; by default not looked at. */
  readonly residual?: number
  /** What the medium has at a byte offset afterwards. */
  readonly medium?: readonly [offset: number, content: string]
}

/** Fixed format sense data of a code: sense key, ASC, ASCQ; and what comes after them. */
export function sense(code: string, rest = '00*4'): string {
  const [key, asc, ascq] = code.split(' ')
  return `70 00 ${key} 00*4 0a 00*4 ${asc} ${ascq} ${rest}`
}

/** INVALID FIELD IN CDB, with its field pointer. */
export function invalidField(pointer: string): string {
  return sense('05 24 00', `00 ${pointer}`)
}

/** INVALID FIELD IN PARAMETER LIST, with its field pointer. */
export function invalidParameter(pointer: string): string {
  return sense('05 26 00', `00 ${pointer}`)
}

export const OUT_OF_RANGE = sense('05 21 00')

/** MISCOMPARE DURING VERIFY OPERATION, with the LBA. */
export function miscompare(lba: string): string {
  return `f0 00 0e ${lba} 0a 00*4 1d 00 00*4`
}

/** Fills a block of the medium. */
export function filled(lba: number, value: number): (fixture: Fixture) => void {
  return ({ medium, unit }) => medium.bytes.fill(value, lba * unit.blockSize, (lba + 1) * unit.blockSize)
}
