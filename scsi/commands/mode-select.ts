import { getU64 } from '../bytes.js'
import { OPCODE } from '../command.js'
import type { LogicalUnit } from '../logical-unit.js'
import { fillPage, MODE_PAGES, MODE_SUBPAGE, type ModePage } from '../mode-pages/pages.js'
import { SENSE } from '../sense.js'
import { ACTION, type Task } from '../task.js'
import { ATTENTION, clear, raise } from '../unit-attention.js'
import type { Effects, UnitNexus, UnitServer } from '../unit-server.js'
import { FLAG, MODE_FLAGS } from '../unit-state.js'

/** MODE SELECT CDB (SPC-4 6.11, 6.12). */
const CDB = { OPTIONS: 1, LENGTH_6: 4, LENGTH_10: 7 } as const
const PF_BIT = 4

/** MODE SELECT(6) (SPC-4 6.11). */
export function modeSelect6(task: Task): void {
  check(task, task.cdbBytes[CDB.LENGTH_6]!)
}

/** MODE SELECT(10) (SPC-4 6.12). */
export function modeSelect10(task: Task): void {
  check(task, task.cdb.getUint16(CDB.LENGTH_10))
}

/** Without a parameter list nothing changes, and that is no error. Pages of a form of our own (PF 0) there are none. */
function check(task: Task, length: number): void {
  if (length === 0) return
  if (((task.cdbBytes[CDB.OPTIONS]! >>> PF_BIT) & 1) === 0) task.failCdbField(CDB.OPTIONS, PF_BIT)
  else task.forwardParameters(length)
}

/** Mode parameter headers (SPC-4 7.5.5). MODE DATA LENGTH and WP are not looked at, as DPOFUA is reserved. */
const HEADER_6 = { MEDIUM_TYPE: 1, DESCRIPTOR_LENGTH: 3, SIZE: 4 } as const
const HEADER_10 = { MEDIUM_TYPE: 2, LONGLBA: 4, DESCRIPTOR_LENGTH: 6, SIZE: 8 } as const

/** Mode parameter block descriptors of direct access block devices (SBC-3 6.5.2). */
const SHORT = { BLOCKS: 0, BLOCK_LENGTH: 4, SIZE: 8 } as const
const LONG = { BLOCKS: 0, BLOCK_LENGTH: 12, SIZE: 16 } as const
/** The number of blocks that is as many as there are. */
const ALL_BLOCKS_SHORT = 0xffffffff
const ALL_BLOCKS_LONG = 2 ** 64

/** Mode pages (SPC-4 7.5.7). PS is reserved here; who sends back what MODE SENSE told may have it set. */
const PAGE = { CODE: 0, SUBPAGE: 1, LENGTH: 1, SUBPAGE_LENGTH: 2, HEADER: 2, SUBPAGE_HEADER: 4 } as const
const SPF = 0x40
const CODE_MASK = 0x3f

/** What is to change: FLAG bits, and their values. */
interface Change {
  mask: number
  flags: number
}

/**
 * MODE SELECT in the unit's server: nothing is changed unless all of the list is right. Other nexuses are told. When the
 * answer comes, no command is under way that knew the old values where that matters, and without a write cache nothing
 * is in it any more.
 */
export function selectMode(task: Task, server: UnitServer, nexus: UnitNexus): Effects | null {
  const change = parse(task, server.unit)
  if (change === null) return null
  const { state } = server.unit
  const before = state.flags
  if (!state.change(change.mask, change.flags)) return null
  return changed(task, server, nexus, before, state.flags)
}

function* changed(task: Task, server: UnitServer, nexus: UnitNexus, before: number, after: number): Effects {
  const others = server.others(nexus)
  const { MODE_PARAMETERS_CHANGED } = ATTENTION
  const told = others.filter(({ attention }) => (Atomics.load(attention, 0) & MODE_PARAMETERS_CHANGED) === 0)
  for (const { attention } of others) raise(attention, MODE_PARAMETERS_CHANGED)
  const kept = yield { type: 'persist' }
  if (kept < 0) {
    server.unit.state.change(MODE_FLAGS, before)
    for (const { attention } of told) clear(attention, MODE_PARAMETERS_CHANGED)
    task.fail(SENSE.INTERNAL_TARGET_FAILURE)
    return
  }
  yield { type: 'announce', nexuses: others, attention: SENSE.MODE_PARAMETERS_CHANGED }
  const cacheOff = (before & ~after & FLAG.WRITE_CACHE) !== 0
  const protectedNow = (after & ~before & FLAG.SOFTWARE_WRITE_PROTECT) !== 0
  if (cacheOff || protectedNow) yield { type: 'fence' }
  if (!cacheOff) return
  const flushed = yield { type: 'flush' }
  if (flushed >= 0) return
  task.action = ACTION.FLUSH
  task.failErrno(-flushed)
}

/** What a parameter list asks for, or null: then the task has failed. */
function parse(task: Task, unit: LogicalUnit): Change | null {
  const { parameters, parameterLength } = task
  const list = new DataView(parameters.buffer, parameters.byteOffset, parameterLength)
  const start = checkHeader(task, list, unit)
  return start < 0 ? null : parsePages(task, list, start, unit)
}

/** Checks header and block descriptor; where the pages begin, or -1: then the task has failed. */
function checkHeader(task: Task, list: DataView, unit: LogicalUnit): number {
  const isSix = task.cdbBytes[0] === OPCODE.MODE_SELECT_6
  const header = isSix ? HEADER_6 : HEADER_10
  if (list.byteLength < header.SIZE) return tooShort(task)
  if (list.getUint8(header.MEDIUM_TYPE) !== 0) return wrong(task, header.MEDIUM_TYPE)
  const at = header.DESCRIPTOR_LENGTH
  const length = isSix ? list.getUint8(at) : list.getUint16(at)
  if (length === 0) return header.SIZE
  const isLong = !isSix && (list.getUint8(HEADER_10.LONGLBA) & 1) !== 0
  // One for all blocks: there is no more than one block length.
  if (length !== (isLong ? LONG.SIZE : SHORT.SIZE)) return wrong(task, at)
  if (header.SIZE + length > list.byteLength) return tooShort(task)
  return checkDescriptor(task, list, header.SIZE, isLong, unit) ? header.SIZE + length : -1
}

/** Whether the block descriptor tells of the blocks that there are; fails the task if not. */
function checkDescriptor(task: Task, list: DataView, at: number, isLong: boolean, unit: LogicalUnit): boolean {
  const { capacity } = unit.state
  const blocks = isLong ? getU64(list, at + LONG.BLOCKS) : list.getUint32(at + SHORT.BLOCKS)
  const all = isLong ? ALL_BLOCKS_LONG : ALL_BLOCKS_SHORT
  // All ones is rounded up to 2^64 as a double.
  if (blocks !== 0 && blocks !== capacity && blocks !== all) {
    wrong(task, at)
    return false
  }
  // The byte before the three of the short one is reserved.
  const lengthAt = at + (isLong ? LONG.BLOCK_LENGTH : SHORT.BLOCK_LENGTH)
  const blockLength = isLong ? list.getUint32(lengthAt) : list.getUint32(lengthAt) & 0xffffff
  if (blockLength === unit.blockSize) return true
  wrong(task, isLong ? lengthAt : lengthAt + 1)
  return false
}

function parsePages(task: Task, list: DataView, start: number, unit: LogicalUnit): Change | null {
  const change: Change = { mask: 0, flags: 0 }
  let at = start
  while (at < list.byteLength) {
    const first = list.getUint8(at + PAGE.CODE)
    const isSub = (first & SPF) !== 0
    const header = isSub ? PAGE.SUBPAGE_HEADER : PAGE.HEADER
    if (at + header > list.byteLength) {
      tooShort(task)
      return null
    }
    const subpage = isSub ? list.getUint8(at + PAGE.SUBPAGE) : MODE_SUBPAGE.NONE
    const page = findPage(task, at, first & CODE_MASK, isSub, subpage)
    if (page === null) return null
    const lengthAt = at + (isSub ? PAGE.SUBPAGE_LENGTH : PAGE.LENGTH)
    const length = isSub ? list.getUint16(lengthAt) : list.getUint8(lengthAt)
    if (length !== page.length) {
      wrong(task, lengthAt)
      return null
    }
    at += header
    if (at + length > list.byteLength) {
      tooShort(task)
      return null
    }
    if (!takePage(task, list, at, page, unit, change)) return null
    at += length
  }
  return change
}

/** The page with this code; null: there is none, and the task has failed. */
function findPage(task: Task, at: number, code: number, isSub: boolean, subpage: number): ModePage | null {
  const ofCode = MODE_PAGES.filter((page) => page.code === code)
  if (ofCode.length === 0) {
    task.failParameter(at + PAGE.CODE, 5)
    return null
  }
  // A page without a subpage code comes without SPF (SPC-4 7.5.7).
  const found = ofCode.find((page) => page.subpage === subpage && isSub === (page.subpage !== MODE_SUBPAGE.NONE))
  if (found !== undefined) return found
  if (isSub) wrong(task, at + PAGE.SUBPAGE)
  else task.failParameter(at + PAGE.CODE, 6)
  return null
}

/** Adds what a page's parameters, at `at`, change; false: they change what cannot be, and the task has failed. */
function takePage(task: Task, list: DataView, at: number, page: ModePage, unit: LogicalUnit, change: Change): boolean {
  const current = new DataView(new ArrayBuffer(page.length))
  fillPage(page, current, unit, unit.state.flags)
  for (const { byte, mask, flag } of page.changeable) {
    const isSet = (list.getUint8(at + byte) & mask) !== 0
    change.mask |= flag
    change.flags = isSet ? change.flags | flag : change.flags & ~flag
    current.setUint8(byte, (current.getUint8(byte) & ~mask) | (isSet ? mask : 0))
  }
  for (let i = 0; i < page.length; i++) {
    const difference = list.getUint8(at + i) ^ current.getUint8(i)
    if (difference === 0) continue
    task.failParameter(at + i, 31 - Math.clz32(difference))
    return false
  }
  return true
}

function tooShort(task: Task): -1 {
  task.fail(SENSE.PARAMETER_LIST_LENGTH_ERROR)
  return -1
}

/** A field of whole bytes. */
function wrong(task: Task, byte: number): -1 {
  task.failParameter(byte)
  return -1
}
