import { scratch } from '../scratch.js'
import type { Task } from '../task.js'

/** READ DEFECT DATA CDBs (SBC-3 5.17, 5.18). */
const CDB_10 = { LIST: 2, ALLOCATION_LENGTH: 7 } as const
const CDB_12 = { LIST: 1, ALLOCATION_LENGTH: 6 } as const

/** REQ_PLIST, REQ_GLIST and DEFECT LIST FORMAT, which the answer repeats: that list, in that format, is what it has. */
const LIST = 0x1f

/** READ DEFECT DATA(10) (SBC-3 5.17): the medium's defects are its own affair, so both lists are empty, in every format. */
export function readDefectData10(task: Task): void {
  scratch
    .begin()
    .u8(0)
    .u8(task.cdbBytes[CDB_10.LIST]! & LIST)
    .u16(0)
  task.answer(scratch.bytes, scratch.length, task.cdb.getUint16(CDB_10.ALLOCATION_LENGTH))
}

/** READ DEFECT DATA(12) (SBC-3 5.18); GENERATION CODE 0: the lists never change. */
export function readDefectData12(task: Task): void {
  scratch
    .begin()
    .u8(0)
    .u8(task.cdbBytes[CDB_12.LIST]! & LIST)
    .u16(0)
    .u32(0)
  task.answer(scratch.bytes, scratch.length, task.cdb.getUint32(CDB_12.ALLOCATION_LENGTH))
}
