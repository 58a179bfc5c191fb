import { SENSE, type SenseCode } from './sense.js'
import { FLAG } from './unit-state.js'

/** What a unit answers while its medium is written all over, or since that has failed; NO_SENSE: neither (SBC-3 4.11.3, 4.32). */
export function wipedSense(flags: number): SenseCode {
  if ((flags & FLAG.SANITIZING) !== 0) return SENSE.LOGICAL_UNIT_NOT_READY_SANITIZE_IN_PROGRESS
  if ((flags & FLAG.FORMATTING) !== 0) return SENSE.LOGICAL_UNIT_NOT_READY_FORMAT_IN_PROGRESS
  if ((flags & FLAG.SANITIZE_FAILED) !== 0) return SENSE.SANITIZE_COMMAND_FAILED
  if ((flags & FLAG.FORMAT_FAILED) !== 0) return SENSE.MEDIUM_FORMAT_CORRUPTED
  return SENSE.NO_SENSE
}
