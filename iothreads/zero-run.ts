import { addressOf, memcmp } from 'memfd-mmap'

/** What a memfd allocates at a time. */
const PAGE = 4096
/** Compared at once while all is zero. */
const STRETCH = 2 ** 20
/** Bytes that one look goes over at most, since requests wait meanwhile. */
export const MAX_ZERO_RUN = 2 ** 26

const bytes = new Uint8Array(STRETCH)
/** The bytes stay where they are for as long as something refers to them: this does. */
const zeros = { bytes, address: addressOf(bytes) }

const isZero = (address: number, length: number): boolean => memcmp(address, zeros.address, length) === 0

/**
 * How many bytes from `offset` on, up to `length` and to MAX_ZERO_RUN, are in pages without anything but zeros; memory that is mapped at
 * `address`, a page's beginning, in whole pages.
 */
export function zeroRun(address: number, offset: number, length: number): number {
  const end = offset + Math.min(length, MAX_ZERO_RUN)
  let at = offset - (offset % PAGE)
  while (at + STRETCH <= end && isZero(address + at, STRETCH)) at += STRETCH
  while (at < end && isZero(address + at, PAGE)) at += PAGE
  return Math.max(0, Math.min(at, end) - offset)
}
