import { NEXUS_WORD } from '../access.js'
import type { Nexus } from '../nexus.js'
import type { Task } from '../task.js'

/** PREVENT, the lower bit of byte 4; the upper one is obsolete. */
const PREVENT = { BYTE: 4, BIT: 0x01 } as const

/**
 * PREVENT ALLOW MEDIUM REMOVAL (SPC-4 6.15): for this nexus; as long as one prevents it, the medium stays (START STOP UNIT). A medium that
 * cannot be removed stays anyway.
 */
export function preventAllowMediumRemoval(task: Task, nexus: Nexus): void {
  if (!nexus.unit.config.removable) return
  Atomics.store(nexus.attention, NEXUS_WORD.PREVENTS, task.cdbBytes[PREVENT.BYTE]! & PREVENT.BIT)
}
