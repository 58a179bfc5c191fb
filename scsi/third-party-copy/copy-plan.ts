import { SENSE, type SenseCode } from '../sense.js'
import type { CopyList, CopySegment, CopyUnit } from './parameter-list.js'

/** A designation descriptor (SPC-4 7.8.6.1). */
const DESIGNATION = { CODE_SET: 0, TYPE: 1, LENGTH: 3, SIZE: 4 } as const

/** A logical unit that may be copied from or to, as whoever plans a copy needs to know it. */
export interface CopyEnd {
  /** Bytes of a logical block. */
  readonly blockSize: number
  /** Logical blocks. */
  readonly capacity: number
  readonly readOnly: boolean
}

/** One stretch of bytes to copy. */
export interface CopyStep<E extends CopyEnd> {
  readonly source: E
  readonly destination: E
  /** Bytes on the media. */
  readonly sourceOffset: number
  readonly destinationOffset: number
  readonly length: number
}

/**
 * What a segment asks for, in bytes. A number instead: the sense code that the copy ends with (SPC-4 6.4.3.3: COPY ABORTED
 * for what is found while segments are processed).
 * @param find the logical unit that a descriptor names, of those that the initiator may reach
 */
export function planSegment<E extends CopyEnd>(
  list: CopyList,
  segment: CopySegment,
  find: (unit: CopyUnit) => E | undefined,
): CopyStep<E> | SenseCode {
  const source = end(list, segment.source, find)
  const destination = end(list, segment.destination, find)
  if (source === undefined || destination === undefined) return SENSE.UNREACHABLE_COPY_TARGET
  const length = segment.blocks * (segment.countsDestination ? destination : source).blockSize
  // Nothing is padded or kept for a segment that follows: both sides have whole blocks.
  if (length % source.blockSize !== 0 || length % destination.blockSize !== 0)
    return SENSE.COPY_TARGET_DEVICE_DATA_UNDERRUN
  if (segment.sourceLba + length / source.blockSize > source.capacity) return SENSE.COPY_ABORTED
  if (segment.destinationLba + length / destination.blockSize > destination.capacity) return SENSE.COPY_ABORTED
  if (destination.readOnly) return SENSE.COPY_TARGET_WRITE_PROTECTED
  return {
    source,
    destination,
    sourceOffset: segment.sourceLba * source.blockSize,
    destinationOffset: segment.destinationLba * destination.blockSize,
    length,
  }
}

function end<E extends CopyEnd>(list: CopyList, index: number, find: (unit: CopyUnit) => E | undefined): E | undefined {
  const unit = list.units[index]
  if (unit === undefined || unit.none) return undefined
  const found = find(unit)
  // A length that is given has to be right: the initiator counts in it.
  return found === undefined || (unit.blockLength !== 0 && unit.blockLength !== found.blockSize) ? undefined : found
}

/** Whether the content of a Device Identification page (SPC-4 7.8.6) has the designator that a descriptor names. */
export function isDesignatedBy(identification: Uint8Array, unit: CopyUnit): boolean {
  const { codeSet, designatorType, designator } = unit
  let at = 0
  while (at + DESIGNATION.SIZE <= identification.length) {
    const length = identification[at + DESIGNATION.LENGTH]!
    const value = identification.subarray(at + DESIGNATION.SIZE, at + DESIGNATION.SIZE + length)
    const isSameKind =
      (identification[at + DESIGNATION.CODE_SET]! & 0x0f) === codeSet &&
      (identification[at + DESIGNATION.TYPE]! & 0x3f) === designatorType
    if (isSameKind && value.length === designator.length && value.every((byte, i) => byte === designator[i]))
      return true
    at += DESIGNATION.SIZE + length
  }
  return false
}
