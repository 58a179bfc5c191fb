import { getU64 } from '../bytes.js'
import type { Nexus } from '../nexus.js'
import { scratch } from '../scratch.js'
import { SENSE } from '../sense.js'
import type { Task } from '../task.js'

/** READ CAPACITY(10) CDB (SBC-3 5.15); LOGICAL BLOCK ADDRESS and PMI are obsolete, and answered as before they were. */
const CDB_10 = { LOGICAL_BLOCK_ADDRESS: 2, PMI: 8 } as const
/** READ CAPACITY(16) CDB (SBC-3 5.16). */
const CDB_16 = { LOGICAL_BLOCK_ADDRESS: 2, ALLOCATION_LENGTH: 10, PMI: 14 } as const

/** READ CAPACITY(16) parameter data. */
const DATA_16 = { SIZE: 32 } as const
const LBPME = 0x80
const LBPRZ = 0x40

const MAX_LBA_10 = 0xffffffff

/** READ CAPACITY(10) (SBC-3 5.15): FFFFFFFFh if the medium has more blocks than can be told here. */
export function readCapacity10(task: Task, nexus: Nexus): void {
  if ((task.cdbBytes[CDB_10.PMI]! & 1) === 0 && task.cdb.getUint32(CDB_10.LOGICAL_BLOCK_ADDRESS) !== 0) {
    task.failCdbField(CDB_10.LOGICAL_BLOCK_ADDRESS, 7)
    return
  }
  const blocks = nexus.unit.state.capacity
  if (blocks === 0) {
    task.fail(SENSE.MEDIUM_NOT_PRESENT)
    return
  }
  scratch.begin()
  scratch.u32(Math.min(blocks - 1, MAX_LBA_10)).u32(nexus.unit.blockSize)
  task.answer(scratch.bytes, scratch.length, scratch.length)
}

/** READ CAPACITY(16) (SBC-3 5.16). */
export function readCapacity16(task: Task, nexus: Nexus): void {
  if ((task.cdbBytes[CDB_16.PMI]! & 1) === 0 && getU64(task.cdb, CDB_16.LOGICAL_BLOCK_ADDRESS) !== 0) {
    task.failCdbField(CDB_16.LOGICAL_BLOCK_ADDRESS, 7)
    return
  }
  const unit = nexus.unit
  const blocks = unit.state.capacity
  if (blocks === 0) {
    task.fail(SENSE.MEDIUM_NOT_PRESENT)
    return
  }
  scratch
    .begin()
    .u64(blocks - 1)
    .u32(unit.blockSize)
    .u8(0)
  // LOGICAL BLOCKS PER PHYSICAL BLOCK EXPONENT
  scratch.u8(Math.log2(unit.config.physicalBlockSize / unit.blockSize))
  scratch.u8(unit.config.discard ? LBPME | LBPRZ : 0)
  scratch.zeros(DATA_16.SIZE - scratch.length)
  task.answer(scratch.bytes, scratch.length, task.cdb.getUint32(CDB_16.ALLOCATION_LENGTH))
}
