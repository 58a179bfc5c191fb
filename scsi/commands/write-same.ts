import { LIMITS } from '../block-limits.js'
import type { Nexus } from '../nexus.js'
import { SENSE } from '../sense.js'
import { ACTION, type Task } from '../task.js'
import { FLAG } from '../unit-state.js'
import { decode10, decode16, locate } from './read-write.js'

/**
 * Byte 1 of WRITE SAME (SBC-3 5.42, 5.43; NDOB: (16) only). ANCHOR, LBDATA and PBDATA are refused by the command table.
 */
const NDOB = 0x01
const UNMAP = 0x08

/** First byte of the NUMBER OF LOGICAL BLOCKS field, for the field pointer. */
const BLOCKS_BYTE = { TEN: 7, SIXTEEN: 10 } as const

export function writeSame10(task: Task, nexus: Nexus, flags: number): void {
  decode10(task)
  writeSame(task, nexus, flags, false, BLOCKS_BYTE.TEN)
}

export function writeSame16(task: Task, nexus: Nexus, flags: number): void {
  decode16(task)
  writeSame(task, nexus, flags, (task.cdbBytes[1]! & NDOB) !== 0, BLOCKS_BYTE.SIXTEEN)
}

/**
 * WRITE SAME: zeros are a block operation of their own, which may deallocate where UNMAP asks for it; blocks with other
 * content are written even then, for an unmapped block reads as zeros (LBPRZ, SBC-3 4.7.3.4.4). Data-out is one block, and a
 * buffer of another length is refused: there is no telling which of the two the initiator has got wrong.
 */
function writeSame(task: Task, nexus: Nexus, flags: number, noData: boolean, blocksByte: number): void {
  const unit = nexus.unit
  const blocks = task.length
  if (!locate(task, unit)) return
  if (blocks === 0 || blocks > LIMITS.WRITE_SAME_BLOCKS) {
    task.failCdbField(blocksByte, 7)
    return
  }
  task.fua = (flags & FLAG.WRITE_CACHE) === 0
  if (!noData) {
    if (task.dataOutLength !== unit.blockSize) {
      task.fail(SENSE.INVALID_FIELD_IN_COMMAND_INFORMATION_UNIT)
      return
    }
    if (!task.takesParameters(unit.blockSize)) return
    if (!isZero(task.parameters, unit.blockSize)) {
      task.patternLength = unit.blockSize
      task.action = ACTION.WRITE_PATTERN
      return
    }
  }
  task.mayUnmap = (task.cdbBytes[1]! & UNMAP) !== 0
  task.action = ACTION.WRITE_ZEROES
}

function isZero(bytes: Uint8Array, length: number): boolean {
  for (let i = 0; i < length; i++) if (bytes[i] !== 0) return false
  return true
}
