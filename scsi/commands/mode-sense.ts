import { fillChangeable, fillPage, MODE_PAGE, MODE_PAGES, MODE_SUBPAGE, type ModePage } from '../mode-pages/pages.js'
import type { Nexus } from '../nexus.js'
import { type Scratch, scratch } from '../scratch.js'
import { SENSE } from '../sense.js'
import type { Task } from '../task.js'
import { FLAG, MODE_FLAGS } from '../unit-state.js'

/** MODE SENSE CDB (SPC-4 6.13, 6.14). */
const CDB = { DBD: 1, PAGE: 2, SUBPAGE: 3, ALLOCATION_LENGTH_6: 4, ALLOCATION_LENGTH_10: 7 } as const
const DBD = 0x08
const LLBAA = 0x10

/** PAGE CONTROL, the upper two bits of byte 2. */
const PAGE_CONTROL = { CURRENT: 0, CHANGEABLE: 1, DEFAULT: 2, SAVED: 3 } as const

/** DEVICE-SPECIFIC PARAMETER of a direct access block device (SBC-3 6.5.1). */
const WP = 0x80
const DPOFUA = 0x10

const LONGLBA = 0x01
const SHORT_DESCRIPTOR = 8
const LONG_DESCRIPTOR = 16
const MAX_SHORT_BLOCKS = 0xffffffff

/** MODE SENSE(6) (SPC-4 6.13). */
export function modeSense6(task: Task, nexus: Nexus, flags: number): void {
  if (!checkPage(task)) return
  const descriptor = (task.cdbBytes[CDB.DBD]! & DBD) !== 0 ? 0 : SHORT_DESCRIPTOR
  scratch.begin().u8(0).u8(0).u8(deviceSpecific(flags)).u8(descriptor)
  if (descriptor !== 0) shortDescriptor(scratch, nexus)
  writePages(task, nexus, flags)
  scratch.setU8(0, scratch.length - 1)
  task.answer(scratch.bytes, scratch.length, task.cdbBytes[CDB.ALLOCATION_LENGTH_6]!)
}

/** MODE SENSE(10) (SPC-4 6.14). */
export function modeSense10(task: Task, nexus: Nexus, flags: number): void {
  if (!checkPage(task)) return
  const options = task.cdbBytes[CDB.DBD]!
  const long = (options & LLBAA) !== 0
  const descriptor = (options & DBD) !== 0 ? 0 : long ? LONG_DESCRIPTOR : SHORT_DESCRIPTOR
  scratch.begin().u16(0).u8(0).u8(deviceSpecific(flags))
  scratch
    .u8(descriptor === LONG_DESCRIPTOR ? LONGLBA : 0)
    .u8(0)
    .u16(descriptor)
  if (descriptor === LONG_DESCRIPTOR) longDescriptor(scratch, nexus)
  else if (descriptor !== 0) shortDescriptor(scratch, nexus)
  writePages(task, nexus, flags)
  scratch.setU16(0, scratch.length - 2)
  task.answer(scratch.bytes, scratch.length, task.cdb.getUint16(CDB.ALLOCATION_LENGTH_10))
}

function deviceSpecific(flags: number): number {
  return DPOFUA | ((flags & (FLAG.READ_ONLY | FLAG.SOFTWARE_WRITE_PROTECT)) !== 0 ? WP : 0)
}

/** Short LBA mode parameter block descriptor (SBC-3 6.5.2.2). */
function shortDescriptor(into: Scratch, nexus: Nexus): void {
  into.u32(Math.min(nexus.unit.state.capacity, MAX_SHORT_BLOCKS)).u8(0).u24(nexus.unit.blockSize)
}

/** Long LBA mode parameter block descriptor (SBC-3 6.5.2.3). */
function longDescriptor(into: Scratch, nexus: Nexus): void {
  into.u64(nexus.unit.state.capacity).u32(0).u32(nexus.unit.blockSize)
}

/** SPC-4 6.13, table "Mode page code usage". */
function isAskedFor(task: Task, page: ModePage): boolean {
  const code = task.cdbBytes[CDB.PAGE]! & MODE_PAGE.ALL
  const subpage = task.cdbBytes[CDB.SUBPAGE]!
  return (code === MODE_PAGE.ALL || code === page.code) && (subpage === MODE_SUBPAGE.ALL || subpage === page.subpage)
}

/** Whether there is what the CDB asks for; fails the task if not. */
function checkPage(task: Task): boolean {
  const code = task.cdbBytes[CDB.PAGE]! & MODE_PAGE.ALL
  const subpage = task.cdbBytes[CDB.SUBPAGE]!
  const isAll = code === MODE_PAGE.ALL
  if (!isAll && !MODE_PAGES.some((page) => page.code === code)) {
    task.failCdbField(CDB.PAGE, 5)
    return false
  }
  const isReserved = isAll && subpage !== MODE_SUBPAGE.NONE && subpage !== MODE_SUBPAGE.ALL
  if (isReserved || !MODE_PAGES.some((page) => isAskedFor(task, page))) {
    task.failCdbField(CDB.SUBPAGE, 7)
    return false
  }
  if (task.cdbBytes[CDB.PAGE]! >>> 6 === PAGE_CONTROL.SAVED) {
    task.fail(SENSE.SAVING_PARAMETERS_NOT_SUPPORTED)
    return false
  }
  return true
}

/** SPF: the header has a subpage code. */
const SPF = 0x40

function writePages(task: Task, { unit }: Nexus, flags: number): void {
  const control = task.cdbBytes[CDB.PAGE]! >>> 6
  const values = control === PAGE_CONTROL.DEFAULT ? (flags & ~MODE_FLAGS) | (unit.state.defaults & MODE_FLAGS) : flags
  for (const page of MODE_PAGES) {
    if (!isAskedFor(task, page)) continue
    if (page.subpage === MODE_SUBPAGE.NONE) scratch.u8(page.code).u8(page.length)
    else
      scratch
        .u8(page.code | SPF)
        .u8(page.subpage)
        .u16(page.length)
    const at = scratch.length
    scratch.zeros(page.length)
    const into = new DataView(scratch.bytes.buffer, at, page.length)
    if (control === PAGE_CONTROL.CHANGEABLE) fillChangeable(page, into)
    else fillPage(page, into, unit, values)
  }
}
