import { getU64 } from '../bytes.js'
import { SENSE } from '../sense.js'
import type { Task } from '../task.js'
import { COPY_LIMITS, DESCRIPTOR_TYPE } from './limits.js'

/** Parameter list of EXTENDED COPY(LID1) (SPC-4 6.4.2). */
const LIST = {
  LIST_IDENTIFIER: 0,
  FLAGS: 1,
  CSCD_LENGTH: 2,
  SEGMENT_LENGTH: 8,
  INLINE_LENGTH: 12,
  SIZE: 16,
} as const

/** Identification CSCD descriptor (SPC-4 6.4.5.2). */
const CSCD = {
  TYPE: 0,
  FLAGS: 1,
  CODE_SET: 4,
  DESIGNATOR_TYPE: 5,
  DESIGNATOR_LENGTH: 7,
  DESIGNATOR: 8,
  DISK_BLOCK_LENGTH: 28,
  SIZE: 32,
} as const
const NUL = 0x20
const MAX_DESIGNATOR = 20

/** Block device to block device segment descriptor (SPC-4 6.4.6.3). */
const SEGMENT = {
  TYPE: 0,
  FLAGS: 1,
  LENGTH: 2,
  SOURCE: 4,
  DESTINATION: 6,
  BLOCKS: 10,
  SOURCE_LBA: 12,
  DESTINATION_LBA: 20,
  SIZE: 28,
} as const
/** The number of blocks is one of the destination's blocks, not the source's. */
const DC = 0x02
const HEADER = 4

/** LIST ID USAGE (SPC-4 6.4.3.2). */
export const LIST_ID_USAGE = {
  /** The results are kept for RECEIVE COPY RESULTS. */
  HOLD: 0,
  /** They need not be. */
  DISCARD: 2,
  /** The copy has no list identifier. */
  NONE: 3,
} as const

/** A copy source or destination: what the Device Identification page of a logical unit says of it. */
export interface CopyUnit {
  /** The null device: reaching it is always an error here. */
  readonly none: boolean
  readonly codeSet: number
  readonly designatorType: number
  readonly designator: Uint8Array
  /** DISK BLOCK LENGTH; 0: not given. */
  readonly blockLength: number
}

/** What to copy, in logical blocks. The source and destination are numbers in CopyList.units, perhaps beyond it. */
export interface CopySegment {
  readonly source: number
  readonly destination: number
  readonly blocks: number
  /** Whether `blocks` are the destination's. */
  readonly countsDestination: boolean
  readonly sourceLba: number
  readonly destinationLba: number
}

export interface CopyList {
  readonly listIdentifier: number
  /** LIST_ID_USAGE. */
  readonly usage: number
  readonly units: readonly CopyUnit[]
  readonly segments: readonly CopySegment[]
}

/**
 * Reads the parameter list of an EXTENDED COPY(LID1), which the transport has gathered. Nothing of it refers to memory
 * that may change.
 * @returns undefined: the task has failed, at the field that is wrong
 */
export function parseCopyList(task: Task): CopyList | undefined {
  const length = task.parameterLength
  const bytes = task.parameters.subarray(0, length)
  const view = new DataView(bytes.buffer, bytes.byteOffset, length)
  if (length < LIST.SIZE) return fail(task, SENSE.PARAMETER_LIST_LENGTH_ERROR)
  const cscdBytes = view.getUint16(LIST.CSCD_LENGTH)
  const segmentBytes = view.getUint32(LIST.SEGMENT_LENGTH)
  const inlineBytes = view.getUint32(LIST.INLINE_LENGTH)
  if (LIST.SIZE + cscdBytes + segmentBytes + inlineBytes > length) return fail(task, SENSE.PARAMETER_LIST_LENGTH_ERROR)
  if (cscdBytes + segmentBytes > COPY_LIMITS.DESCRIPTOR_LIST_BYTES) return fail(task, SENSE.PARAMETER_LIST_LENGTH_ERROR)
  if (inlineBytes > COPY_LIMITS.INLINE_BYTES) return fail(task, SENSE.INLINE_DATA_LENGTH_EXCEEDED)
  if (cscdBytes % CSCD.SIZE !== 0) return failAt(task, LIST.CSCD_LENGTH)
  if (cscdBytes / CSCD.SIZE > COPY_LIMITS.CSCD_DESCRIPTORS) return fail(task, SENSE.TOO_MANY_TARGET_DESCRIPTORS)

  const usage = (bytes[LIST.FLAGS]! >>> 3) & 3
  const listIdentifier = bytes[LIST.LIST_IDENTIFIER]!
  if (usage === 1) return failAt(task, LIST.FLAGS, 4)
  if (usage === LIST_ID_USAGE.NONE && listIdentifier !== 0) return failAt(task, LIST.LIST_IDENTIFIER)

  const units: CopyUnit[] = []
  for (let at: number = LIST.SIZE; at < LIST.SIZE + cscdBytes; at += CSCD.SIZE) {
    const unit = parseUnit(task, bytes, view, at)
    if (unit === undefined) return undefined
    units.push(unit)
  }
  const segments = parseSegments(task, view, LIST.SIZE + cscdBytes, segmentBytes)
  return segments && { listIdentifier, usage, units, segments }
}

/** Takes no notice of LU ID TYPE: in an identification descriptor it tells nothing (SPC-4 6.4.5). */
function parseUnit(task: Task, bytes: Uint8Array, view: DataView, at: number): CopyUnit | undefined {
  if (bytes[at] !== DESCRIPTOR_TYPE.IDENTIFICATION) return fail(task, SENSE.UNSUPPORTED_TARGET_DESCRIPTOR_TYPE_CODE)
  const flags = bytes[at + CSCD.FLAGS]!
  const length = bytes[at + CSCD.DESIGNATOR_LENGTH]!
  if (length > MAX_DESIGNATOR) return failAt(task, at + CSCD.DESIGNATOR_LENGTH)
  return {
    none: (flags & NUL) !== 0,
    codeSet: bytes[at + CSCD.CODE_SET]! & 0x0f,
    // With the ASSOCIATION: only a designator of the logical unit has none.
    designatorType: bytes[at + CSCD.DESIGNATOR_TYPE]! & 0x3f,
    designator: bytes.slice(at + CSCD.DESIGNATOR, at + CSCD.DESIGNATOR + length),
    blockLength: view.getUint32(at + CSCD.DISK_BLOCK_LENGTH) & 0xffffff,
  }
}

function parseSegments(task: Task, view: DataView, start: number, length: number): CopySegment[] | undefined {
  const segments: CopySegment[] = []
  const end = start + length
  for (let at = start; at < end; at += SEGMENT.SIZE) {
    if (end - at < HEADER) return failAt(task, LIST.SEGMENT_LENGTH)
    if (segments.length === COPY_LIMITS.SEGMENT_DESCRIPTORS) return fail(task, SENSE.TOO_MANY_SEGMENT_DESCRIPTORS)
    if (view.getUint8(at + SEGMENT.TYPE) !== DESCRIPTOR_TYPE.BLOCK_TO_BLOCK) {
      return fail(task, SENSE.UNSUPPORTED_SEGMENT_DESCRIPTOR_TYPE_CODE)
    }
    if (view.getUint16(at + SEGMENT.LENGTH) !== SEGMENT.SIZE - HEADER) return failAt(task, at + SEGMENT.LENGTH)
    if (end - at < SEGMENT.SIZE) return failAt(task, LIST.SEGMENT_LENGTH)
    segments.push({
      source: view.getUint16(at + SEGMENT.SOURCE),
      destination: view.getUint16(at + SEGMENT.DESTINATION),
      blocks: view.getUint16(at + SEGMENT.BLOCKS),
      countsDestination: (view.getUint8(at + SEGMENT.FLAGS) & DC) !== 0,
      sourceLba: getU64(view, at + SEGMENT.SOURCE_LBA),
      destinationLba: getU64(view, at + SEGMENT.DESTINATION_LBA),
    })
  }
  return segments
}

function fail(task: Task, sense: number): undefined {
  task.fail(sense)
}

function failAt(task: Task, byte: number, bit?: number): undefined {
  task.failParameter(byte, bit)
}
