import { getU64 } from '../bytes.js'
import type { Nexus } from '../nexus.js'
import { SENSE } from '../sense.js'
import { ACTION, type Task } from '../task.js'

/**
 * SYNCHRONIZE CACHE (SBC-3 5.21, 5.22): everything that was written is made durable, whatever range is given, and IMMED
 * is not made use of.
 */
export function synchronizeCache10(task: Task, nexus: Nexus): void {
  flush(task, nexus, task.cdb.getUint32(2), task.cdb.getUint16(7))
}

export function synchronizeCache16(task: Task, nexus: Nexus): void {
  flush(task, nexus, getU64(task.cdb, 2), task.cdb.getUint32(10))
}

function flush(task: Task, nexus: Nexus, lba: number, blocks: number): void {
  if (lba + blocks > nexus.unit.state.capacity) task.fail(SENSE.LOGICAL_BLOCK_ADDRESS_OUT_OF_RANGE)
  else task.action = ACTION.FLUSH
}
