import type { LogicalUnit } from '../logical-unit.js'
import type { Scratch } from '../scratch.js'
import { thresholdSets } from '../space-threshold.js'

/** Log page codes (SPC-4 7.3, SBC-3 6.4). */
export const LOG_PAGE = {
  SUPPORTED_PAGES: 0x00,
  LOGICAL_BLOCK_PROVISIONING: 0x0c,
  TEMPERATURE: 0x0d,
  INFORMATIONAL_EXCEPTIONS: 0x2f,
} as const

/** Subpage code of the page that lists pages and subpages. */
export const ALL_SUBPAGES = 0xff

/** A log parameter (SPC-4 7.3.2.2): its code, and what follows its header. */
export interface LogParameter {
  readonly code: number
  readonly value: readonly number[]
}

/** A log page without subpages. */
export interface LogPage {
  readonly code: number
  /** Ascending by code. */
  readonly parameters: readonly LogParameter[]
}

/** FORMAT AND LINKING 11b: a list in binary format. */
const CONTROL = 0x03

/** There is no sensor; no temperature is known (SPC-4 7.3.23). */
const UNKNOWN_TEMPERATURE = 0xff

/** Temperature (SPC-4 7.3.23): the present one and the highest at which the device may run. */
const temperature: LogPage = {
  code: LOG_PAGE.TEMPERATURE,
  parameters: [
    { code: 0x0000, value: [0, UNKNOWN_TEMPERATURE] },
    { code: 0x0001, value: [0, UNKNOWN_TEMPERATURE] },
  ],
}

/** Informational Exceptions (SPC-4 7.3.12): ASC and ASCQ 0, there is none; the temperature; a byte for the vendor. */
const informationalExceptions: LogPage = {
  code: LOG_PAGE.INFORMATIONAL_EXCEPTIONS,
  parameters: [{ code: 0x0000, value: [0, 0, UNKNOWN_TEMPERATURE, 0] }],
}

/** SCOPE of a resource count: of this unit alone, or of whatever shares the space. */
const SCOPE = { DEDICATED: 1, SHARED: 2 } as const

/** Logical Block Provisioning (SBC-3 6.4.4): how much is left and how much is used, in threshold sets. */
function logicalBlockProvisioning({ state }: LogicalUnit): LogPage {
  const { available, used } = state.space
  return {
    code: LOG_PAGE.LOGICAL_BLOCK_PROVISIONING,
    parameters: [
      { code: 0x0001, value: resourceCount(thresholdSets(available, Math.floor), SCOPE.SHARED) },
      { code: 0x0002, value: resourceCount(thresholdSets(used), SCOPE.DEDICATED) },
    ],
  }
}

function resourceCount(sets: number, scope: number): number[] {
  return [sets >>> 24, (sets >>> 16) & 0xff, (sets >>> 8) & 0xff, sets & 0xff, scope, 0, 0, 0]
}

/** The log pages of a unit, ascending by code; those that list pages are made of this. */
export function logPages(unit: LogicalUnit): readonly LogPage[] {
  const pages = [temperature, informationalExceptions]
  return unit.config.spaceThreshold === undefined ? pages : [logicalBlockProvisioning(unit), ...pages]
}

/** Writes a log parameter. */
export function putParameter(into: Scratch, { code, value }: LogParameter): void {
  into.u16(code).u8(CONTROL).u8(value.length)
  for (const byte of value) into.u8(byte)
}
