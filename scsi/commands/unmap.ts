import { LIMITS } from '../block-limits.js'
import { getU64 } from '../bytes.js'
import type { Nexus } from '../nexus.js'
import { SENSE } from '../sense.js'
import { ACTION, type Program, type Task } from '../task.js'

/** UNMAP CDB (SBC-3 5.28); ANCHOR is refused by the command table. */
const CDB = { PARAMETER_LIST_LENGTH: 7 } as const

/** UNMAP parameter list: the header, and a block descriptor. */
const LIST = { DATA_LENGTH: 0, DESCRIPTOR_DATA_LENGTH: 2, SIZE: 8 } as const
const DESCRIPTOR = { LBA: 0, BLOCKS: 8, SIZE: 16 } as const

/** UNMAP (SBC-3 5.28): nothing is unmapped unless all of the list is right. */
export function unmap(task: Task, nexus: Nexus): void {
  const length = task.cdb.getUint16(CDB.PARAMETER_LIST_LENGTH)
  if (!task.takesParameters(length) || length === 0) return
  const list = new DataView(task.parameters.buffer, task.parameters.byteOffset, length)
  if (length < LIST.SIZE) {
    task.fail(SENSE.PARAMETER_LIST_LENGTH_ERROR)
    return
  }
  const descriptorBytes = list.getUint16(LIST.DESCRIPTOR_DATA_LENGTH)
  if (list.getUint16(LIST.DATA_LENGTH) + 2 > length || descriptorBytes + LIST.SIZE > length) {
    task.fail(SENSE.PARAMETER_LIST_LENGTH_ERROR)
    return
  }
  // An incomplete descriptor at the end is ignored (SBC-3 5.28.2).
  const count = Math.floor(descriptorBytes / DESCRIPTOR.SIZE)
  if (count > LIMITS.UNMAP_DESCRIPTORS) {
    task.failParameter(LIST.DESCRIPTOR_DATA_LENGTH)
    return
  }
  collect(task, nexus, list, count)
}

/** Checks the descriptors and makes them the task's action. */
function collect(task: Task, nexus: Nexus, list: DataView, count: number): void {
  const { blockSize, state } = nexus.unit
  const capacity = state.capacity
  // The parameter list is the thread's, valid for this call: offsets and lengths of what is to be discarded are kept.
  const ranges: number[] = []
  let total = 0
  for (let i = 0; i < count; i++) {
    const at = LIST.SIZE + i * DESCRIPTOR.SIZE
    const lba = getU64(list, at + DESCRIPTOR.LBA)
    const blocks = list.getUint32(at + DESCRIPTOR.BLOCKS)
    if (lba + blocks > capacity) {
      task.fail(SENSE.LOGICAL_BLOCK_ADDRESS_OUT_OF_RANGE)
      return
    }
    total += blocks
    if (total > LIMITS.UNMAP_BLOCKS) {
      task.failParameter(at + DESCRIPTOR.BLOCKS)
      return
    }
    if (blocks > 0) ranges.push(lba * blockSize, blocks * blockSize)
  }
  if (ranges.length === 0) return
  if (ranges.length === 2) {
    task.action = ACTION.DISCARD
    task.offset = ranges[0]!
    task.length = ranges[1]!
  } else {
    task.action = ACTION.PROGRAM
    task.program = discardEach(task, ranges)
  }
}

function* discardEach(task: Task, ranges: readonly number[]): Program {
  for (let i = 0; i < ranges.length; i += 2) {
    task.action = ACTION.DISCARD
    task.offset = ranges[i]!
    task.length = ranges[i + 1]!
    const result = yield
    if (result < 0) {
      task.failErrno(-result)
      return
    }
  }
  task.succeed()
}
