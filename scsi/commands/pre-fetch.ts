import { getU64 } from '../bytes.js'
import type { Nexus } from '../nexus.js'
import { ACTION, type Task } from '../task.js'
import { locate } from './read-write.js'

/**
 * PRE-FETCH (SBC-3 5.8, 5.9): the medium is asked to read ahead; TRANSFER LENGTH 0 is all blocks to the end. The status is GOOD,
 * never CONDITION MET: nobody can tell whether a cache has taken all of it. IMMED makes no difference, since nothing is waited for,
 * nor does GROUP NUMBER, since there are no groups (GROUP_SUP 0).
 */
export function preFetch10(task: Task, nexus: Nexus): void {
  task.offset = task.cdb.getUint32(2)
  preFetch(task, nexus, task.cdb.getUint16(7))
}

export function preFetch16(task: Task, nexus: Nexus): void {
  task.offset = getU64(task.cdb, 2)
  preFetch(task, nexus, task.cdb.getUint32(10))
}

function preFetch(task: Task, nexus: Nexus, blocks: number): void {
  task.length = blocks === 0 ? Math.max(0, nexus.unit.state.capacity - task.offset) : blocks
  if (locate(task, nexus.unit) && task.length > 0) task.action = ACTION.PREFETCH
}
