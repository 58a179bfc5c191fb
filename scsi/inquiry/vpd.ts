import type { UnitConfig } from '../unit-config.js'

/** The vital product data pages of a disk (SPC-4 7.8, SBC-3 6.6), whole, by page code. */
export function diskVpdPages(_config: UnitConfig): Map<number, Uint8Array> {
  return new Map([[0, Uint8Array.of(0, 0, 0, 1, 0)]])
}
