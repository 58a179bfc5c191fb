import type { Nexus } from '../nexus.js'
import { ACTION, type Task } from '../task.js'
import { decode16, locate, mustBeDurable } from './read-write.js'

/** ORWRITE(16) (SBC-3 5.5): bits that are set in data-out are set on the medium. No blocks are no error. */
export function orWrite16(task: Task, nexus: Nexus, flags: number): void {
  decode16(task)
  if (!locate(task, nexus.unit)) return
  task.transferLength = task.length
  if (task.length === 0) return
  task.fua = mustBeDurable(task, flags)
  task.action = ACTION.OR_WRITE
}
