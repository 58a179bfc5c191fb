import { mostAtomic } from '../block-limits.js'
import { getU64 } from '../bytes.js'
import type { Nexus } from '../nexus.js'
import { ACTION, type Task } from '../task.js'
import { locate, mustBeDurable } from './read-write.js'

const CDB = { LBA: 2, TRANSFER_LENGTH: 12 } as const

/** WRITE ATOMIC(16) (SBC-4 5.48): a write that is done as a whole or not at all. No blocks are no error. */
export function writeAtomic16(task: Task, nexus: Nexus, flags: number): void {
  const unit = nexus.unit
  task.offset = getU64(task.cdb, CDB.LBA)
  task.length = task.cdb.getUint16(CDB.TRANSFER_LENGTH)
  const most = mostAtomic(unit.blockSize)
  const blocks = task.length
  if (!locate(task, unit)) return
  if (blocks > most) {
    task.failCdbField(CDB.TRANSFER_LENGTH, 7)
    return
  }
  task.transferLength = task.length
  if (task.length === 0) return
  task.fua = mustBeDurable(task, flags)
  task.action = ACTION.WRITE_ATOMIC
}
