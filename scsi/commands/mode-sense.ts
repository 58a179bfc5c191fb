import { MODE_PAGE, MODE_PAGES, type ModePage } from '../mode-pages/pages.js'
import type { Nexus } from '../nexus.js'
import { type Scratch, scratch } from '../scratch.js'
import { SENSE } from '../sense.js'
import type { Task } from '../task.js'
import { FLAG } from '../unit-state.js'

/** MODE SENSE CDB (SPC-4 6.13, 6.14). */
const CDB = { DBD: 1, PAGE: 2, SUBPAGE: 3, ALLOCATION_LENGTH_6: 4, ALLOCATION_LENGTH_10: 7 } as const
const DBD = 0x08
const LLBAA = 0x10

/** PAGE CONTROL, the upper two bits of byte 2. */
const PAGE_CONTROL = { CURRENT: 0, CHANGEABLE: 1, DEFAULT: 2, SAVED: 3 } as const
const ALL_SUBPAGES = 0xff

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
  return DPOFUA | ((flags & FLAG.READ_ONLY) !== 0 ? WP : 0)
}

/** Short LBA mode parameter block descriptor (SBC-3 6.5.2.2). */
function shortDescriptor(into: Scratch, nexus: Nexus): void {
  into.u32(Math.min(nexus.unit.state.capacity, MAX_SHORT_BLOCKS)).u8(0).u24(nexus.unit.blockSize)
}

/** Long LBA mode parameter block descriptor (SBC-3 6.5.2.3). */
function longDescriptor(into: Scratch, nexus: Nexus): void {
  into.u64(nexus.unit.state.capacity).u32(0).u32(nexus.unit.blockSize)
}

function isAskedFor(task: Task, page: ModePage): boolean {
  const code = task.cdbBytes[CDB.PAGE]! & MODE_PAGE.ALL
  return code === MODE_PAGE.ALL || code === page.code
}

/** Whether there is what the CDB asks for; fails the task if not. */
function checkPage(task: Task): boolean {
  if (!MODE_PAGES.some((page) => isAskedFor(task, page))) {
    task.failCdbField(CDB.PAGE, 5)
    return false
  }
  const subpage = task.cdbBytes[CDB.SUBPAGE]!
  if (subpage !== 0 && subpage !== ALL_SUBPAGES) {
    task.failCdbField(CDB.SUBPAGE, 7)
    return false
  }
  if (task.cdbBytes[CDB.PAGE]! >>> 6 === PAGE_CONTROL.SAVED) {
    task.fail(SENSE.SAVING_PARAMETERS_NOT_SUPPORTED)
    return false
  }
  return true
}

function writePages(task: Task, nexus: Nexus, flags: number): void {
  const control = task.cdbBytes[CDB.PAGE]! >>> 6
  for (const page of MODE_PAGES) {
    if (!isAskedFor(task, page)) continue
    scratch.u8(page.code).u8(page.length)
    const at = scratch.length
    scratch.zeros(page.length)
    // Changeable values: none.
    if (control !== PAGE_CONTROL.CHANGEABLE) {
      page.fill(new DataView(scratch.bytes.buffer, at, page.length), nexus, flags)
    }
  }
}
