import { mostCompared } from '../block-limits.js'
import { getU64 } from '../bytes.js'
import type { Nexus } from '../nexus.js'
import { ACTION, type Task } from '../task.js'
import { locate, mustBeDurable } from './read-write.js'

const CDB = { LBA: 2, BLOCKS: 13 } as const

/**
 * COMPARE AND WRITE (SBC-3 5.2): data-out is what the blocks have to hold, and what they hold afterwards. No blocks are no error.
 *
 * A buffer that is larger than any such command can need is one: there are initiators whose number of blocks does not fit its byte,
 * and 256 become 0, which would be GOOD without anything having been compared.
 */
export function compareAndWrite(task: Task, nexus: Nexus, flags: number): void {
  const unit = nexus.unit
  const most = mostCompared(unit.blockSize)
  task.offset = getU64(task.cdb, CDB.LBA)
  task.length = task.cdbBytes[CDB.BLOCKS]!
  if (task.length > most || task.dataOutLength > 2 * most * unit.blockSize) {
    task.failCdbField(CDB.BLOCKS, 7)
    return
  }
  if (!locate(task, unit)) return
  task.transferLength = 2 * task.length
  if (task.length === 0) return
  task.fua = mustBeDurable(task, flags)
  task.action = ACTION.COMPARE_AND_WRITE
}
