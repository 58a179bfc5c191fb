import { getU64 } from '../bytes.js'
import { OPCODE } from '../command.js'
import { scratch } from '../scratch.js'
import { SENSE } from '../sense.js'
import type { Task } from '../task.js'
import { BUFFER_BYTES } from '../unit-buffers.js'
import type { UnitNexus, UnitServer } from '../unit-server.js'

/** READ BUFFER(10) and WRITE BUFFER CDBs (SPC-4 6.18, 6.49). */
const CDB_10 = { MODE: 1, ID: 2, OFFSET: 3, LENGTH: 6 } as const
/** READ BUFFER(16) CDB (SPC-5 6.19). */
const CDB_16 = { OFFSET: 2, LENGTH: 10, ID: 14 } as const
const MODE_BIT = 4
const FIELD_BIT = 7

/** MODE */
const MODE = { DATA: 0x02, DESCRIPTOR: 0x03, ECHO: 0x0a, ECHO_DESCRIPTOR: 0x0b } as const
/** BUFFER ID of the one data buffer. */
const DATA_BUFFER = 0

function u24(task: Task, at: number): number {
  return task.cdb.getUint32(at) >>> 8
}

function modeOf(task: Task): number {
  return task.cdbBytes[CDB_10.MODE]! & 0x1f
}

/** Where READ BUFFER has its fields. */
interface ReadFields {
  readonly id: number
  readonly offset: number
  readonly length: number
}

function readFields(task: Task): ReadFields {
  const { cdb, cdbBytes } = task
  if (cdbBytes[0] === OPCODE.READ_BUFFER_10) {
    return { id: cdbBytes[CDB_10.ID]!, offset: u24(task, CDB_10.OFFSET), length: u24(task, CDB_10.LENGTH) }
  }
  return { id: cdbBytes[CDB_16.ID]!, offset: getU64(cdb, CDB_16.OFFSET), length: cdb.getUint32(CDB_16.LENGTH) }
}

/** READ BUFFER(10) (SPC-4 6.18) */
export function readBuffer10(task: Task): void {
  readBuffer(task, CDB_10)
}

/** READ BUFFER(16) (SPC-5 6.19) */
export function readBuffer16(task: Task): void {
  readBuffer(task, CDB_16)
}

function readBuffer(task: Task, at: { readonly ID: number; readonly OFFSET: number }): void {
  const { id, offset, length } = readFields(task)
  switch (modeOf(task)) {
    case MODE.DATA:
      if (id !== DATA_BUFFER) task.failCdbField(at.ID, FIELD_BIT)
      else if (offset > BUFFER_BYTES.DATA) task.failCdbField(at.OFFSET, FIELD_BIT)
      else task.forward()
      break
    case MODE.DESCRIPTOR:
      // OFFSET BOUNDARY 0: any byte. A buffer that is not there has no bytes.
      scratch.begin().u32(id === DATA_BUFFER ? BUFFER_BYTES.DATA : 0)
      task.answer(scratch.bytes, scratch.length, length)
      break
    case MODE.ECHO:
      task.forward()
      break
    case MODE.ECHO_DESCRIPTOR:
      // EBOS 1: nobody overwrites what another nexus has in its echo buffer.
      scratch.begin().u8(1).u8(0).u16(BUFFER_BYTES.ECHO)
      task.answer(scratch.bytes, scratch.length, length)
      break
    default:
      task.failCdbField(CDB_10.MODE, MODE_BIT)
  }
}

/** READ BUFFER in the unit's server: what was written. */
export function answerBuffer(task: Task, { buffers }: UnitServer, nexus: UnitNexus): null {
  const { offset, length } = readFields(task)
  const bytes = modeOf(task) === MODE.ECHO ? buffers.echo(nexus) : buffers.data.subarray(offset)
  if (bytes === undefined) task.fail(SENSE.COMMAND_SEQUENCE_ERROR)
  else task.answer(bytes, bytes.length, length)
  return null
}

/** WRITE BUFFER (SPC-4 6.49) */
export function writeBuffer(task: Task): void {
  const offset = u24(task, CDB_10.OFFSET)
  const length = u24(task, CDB_10.LENGTH)
  switch (modeOf(task)) {
    case MODE.DATA:
      if (task.cdbBytes[CDB_10.ID] !== DATA_BUFFER) task.failCdbField(CDB_10.ID, FIELD_BIT)
      else if (offset > BUFFER_BYTES.DATA) task.failCdbField(CDB_10.OFFSET, FIELD_BIT)
      else if (offset + length > BUFFER_BYTES.DATA) task.failCdbField(CDB_10.LENGTH, FIELD_BIT)
      else if (length > 0) task.forwardParameters(length)
      break
    case MODE.ECHO:
      if (length > BUFFER_BYTES.ECHO) task.failCdbField(CDB_10.LENGTH, FIELD_BIT)
      else if (length > 0) task.forwardParameters(length)
      break
    default:
      task.failCdbField(CDB_10.MODE, MODE_BIT)
  }
}

/** WRITE BUFFER in the unit's server. */
export function fillBuffer(task: Task, { buffers }: UnitServer, nexus: UnitNexus): null {
  if (modeOf(task) === MODE.ECHO) buffers.setEcho(nexus, task.parameters)
  else buffers.data.set(task.parameters, u24(task, CDB_10.OFFSET))
  return null
}
