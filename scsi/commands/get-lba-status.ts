import { getU64 } from '../bytes.js'
import type { Nexus } from '../nexus.js'
import { scratch } from '../scratch.js'
import { SENSE } from '../sense.js'
import { ACTION, type Program, type Task } from '../task.js'

/** GET LBA STATUS CDB (SBC-3 5.4). */
const CDB = { STARTING_LBA: 2, ALLOCATION_LENGTH: 10 } as const
/** Its parameter data: a header, and LBA status descriptors. */
const DATA = { HEADER: 8, DESCRIPTOR: 16, LENGTH_FIELD: 4 } as const
/** PROVISIONING STATUS */
const STATUS = { MAPPED: 0, DEALLOCATED: 1 } as const

const MAX_BLOCKS = 0xffffffff
/** Each takes one or two look-ups of the medium's. */
const MAX_DESCRIPTORS = 64

/** A number of blocks with one provisioning status, from `lba` on. */
interface Extent {
  readonly lba: number
  readonly blocks: number
  readonly status: number
}

/**
 * GET LBA STATUS (SBC-3 5.4): which blocks from an LBA on are mapped and which are not, for as many extents as fit the allocation
 * length, and no more than 64. All blocks of a fully provisioned unit are mapped.
 */
export function getLbaStatus(task: Task, nexus: Nexus): void {
  const { state, blockSize, config } = nexus.unit
  const lba = getU64(task.cdb, CDB.STARTING_LBA)
  const end = state.capacity
  if (lba >= end) {
    task.fail(SENSE.LOGICAL_BLOCK_ADDRESS_OUT_OF_RANGE)
    return
  }
  const allocationLength = task.cdb.getUint32(CDB.ALLOCATION_LENGTH)
  if (!config.discard) {
    answerExtents(task, [{ lba, blocks: Math.min(end - lba, MAX_BLOCKS), status: STATUS.MAPPED }], allocationLength)
    return
  }
  const room = Math.floor((Math.min(allocationLength, task.dataInLength) - DATA.HEADER) / DATA.DESCRIPTOR)
  task.transferLength = Math.min(allocationLength, DATA.HEADER + DATA.DESCRIPTOR)
  task.action = ACTION.PROGRAM
  task.program = findExtents(task, blockSize, lba, end, Math.min(Math.max(room, 1), MAX_DESCRIPTORS), allocationLength)
}

function* findExtents(
  task: Task,
  blockSize: number,
  lba: number,
  end: number,
  most: number,
  allocationLength: number,
): Program {
  const extents: Extent[] = []
  while (lba < end && extents.length < most) {
    const left = Math.min(end - lba, MAX_BLOCKS)
    task.offset = lba * blockSize
    task.length = left * blockSize
    task.action = ACTION.FIND_HOLE
    let found = yield
    // A block is unmapped if all of it is.
    let blocks = Math.floor(found / blockSize)
    const isHole = blocks > 0
    if (found >= 0 && !isHole) {
      task.action = ACTION.FIND_DATA
      found = yield
      blocks = Math.min(Math.max(1, Math.ceil(found / blockSize)), left)
    }
    if (found < 0) {
      task.failErrno(-found)
      return
    }
    extents.push({ lba, blocks, status: isHole ? STATUS.DEALLOCATED : STATUS.MAPPED })
    lba += blocks
  }
  answerExtents(task, extents, allocationLength)
}

function answerExtents(task: Task, extents: readonly Extent[], allocationLength: number): void {
  scratch.begin().u32(DATA.HEADER + extents.length * DATA.DESCRIPTOR - DATA.LENGTH_FIELD)
  scratch.u32(0)
  for (const { lba, blocks, status } of extents) scratch.u64(lba).u32(blocks).u8(status).zeros(3)
  task.answer(scratch.bytes, scratch.length, allocationLength)
}
