import type { Nexus } from '../nexus.js'
import { scratch } from '../scratch.js'
import type { Task } from '../task.js'
import { COPY_LIMITS, DESCRIPTOR_TYPE } from '../third-party-copy/limits.js'

const ALLOCATION_LENGTH = 10

/** RECEIVE COPY OPERATING PARAMETERS (SPC-4 6.31; service action 03h): what EXTENDED COPY(LID1) takes. */
export function receiveCopyOperatingParameters(task: Task, _nexus: Nexus, _flags: number): void {
  scratch.begin().u32(0)
  // SNLID: a copy need not have a list identifier.
  scratch.u8(1).zeros(3)
  scratch
    .u16(COPY_LIMITS.CSCD_DESCRIPTORS)
    .u16(COPY_LIMITS.SEGMENT_DESCRIPTORS)
    .u32(COPY_LIMITS.DESCRIPTOR_LIST_BYTES)
    .u32(COPY_LIMITS.SEGMENT_BYTES)
    .u32(COPY_LIMITS.INLINE_BYTES)
  // HELD DATA LIMIT, MAXIMUM STREAM DEVICE TRANSFER SIZE
  scratch.u32(0).u32(0).u16(0)
  scratch.u16(COPY_LIMITS.CONCURRENT).u8(COPY_LIMITS.CONCURRENT)
  // Granularities: of data segments; of inline and of held data, neither of which is there.
  scratch.u8(COPY_LIMITS.GRANULARITY).u8(0).u8(0).zeros(3)
  scratch.u8(2).u8(DESCRIPTOR_TYPE.BLOCK_TO_BLOCK).u8(DESCRIPTOR_TYPE.IDENTIFICATION)
  scratch.setU32(0, scratch.length - 4)
  task.answer(scratch.bytes, scratch.length, task.cdb.getUint32(ALLOCATION_LENGTH))
}
