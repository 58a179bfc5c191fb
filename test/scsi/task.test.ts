import t from 'tap'
import { ERRNO } from '../../scsi/errno.js'
import { SENSE } from '../../scsi/sense.js'
import { STATUS } from '../../scsi/status.js'
import { ACTION, CDB_BYTES, complete, DIRECTION, Task } from '../../scsi/task.js'
import { hex, normal } from './support/hex.js'

function senseOf(task: Task): string {
  return hex(task.sense.subarray(0, task.senseLength))
}

t.test('tasks can share one buffer for their CDBs', async (t) => {
  const buffer = new ArrayBuffer(2 * CDB_BYTES)
  const first = new Task(buffer)
  const second = new Task(buffer, CDB_BYTES)
  first.cdbBytes.fill(1)
  second.cdbBytes.fill(2)
  t.equal(first.cdb.getUint32(28), 0x01010101)
  t.equal(second.cdb.getUint32(0), 0x02020202)
  t.equal(first.cdbBytes.length, CDB_BYTES)
})

t.test('a failure is CHECK CONDITION with sense and without data', async (t) => {
  const task = new Task()
  t.equal(task.senseLength, 0)
  task.dataInLength = 10
  task.answer(new Uint8Array(5), 5, 5)
  t.equal(task.dataInCount, 5)
  task.fail(SENSE.INVALID_FIELD_IN_CDB)
  t.equal(task.action, ACTION.DONE)
  t.equal(task.status, STATUS.CHECK_CONDITION)
  t.equal(task.senseCode, SENSE.INVALID_FIELD_IN_CDB)
  t.equal(senseOf(task), normal('70 00 05 00*4 0a 00*4 24 00 00*4'))
  t.equal(task.dataInCount, 0)
  t.equal(task.transferLength, 0)
  task.failCdbField(3, 4)
  t.equal(senseOf(task), normal('70 00 05 00*4 0a 00*4 24 00 00 cc 00 03'))
  task.failCdbField(3)
  t.equal(senseOf(task), normal('70 00 05 00*4 0a 00*4 24 00 00 c0 00 03'))
  task.failParameter(8)
  t.equal(senseOf(task), normal('70 00 05 00*4 0a 00*4 26 00 00 80 00 08'))
  task.failAt(SENSE.WRITE_ERROR, 7)
  t.equal(senseOf(task), normal('f0 00 03 00 00 00 07 0a 00*4 0c 00 00*4'))
  task.descriptorSense = true
  task.fail(SENSE.WRITE_ERROR)
  t.equal(senseOf(task), normal('72 03 0c 00 00*4'))
})

t.test('succeed and end leave no sense', async (t) => {
  const task = new Task()
  task.fail(SENSE.WRITE_ERROR)
  task.succeed()
  t.match(task, { status: STATUS.GOOD, senseLength: 0, senseCode: 0, action: ACTION.DONE })
  task.fail(SENSE.WRITE_ERROR)
  task.transferLength = 8
  task.end(STATUS.TASK_SET_FULL)
  t.match(task, { status: STATUS.TASK_SET_FULL, senseLength: 0, senseCode: 0, transferLength: 0 })
})

t.test('answer cuts at ALLOCATION LENGTH and at the buffer', async (t) => {
  const task = new Task()
  const data = new Uint8Array(100)
  for (const [length, allocationLength, buffer, transferLength, count] of [
    [100, 36, 50, 36, 36],
    [100, 100, 50, 100, 50],
    [20, 255, 255, 20, 20],
    [20, 0, 255, 0, 0],
    [20, 20, 0, 20, 0],
  ] as const) {
    task.reset()
    task.dataInLength = buffer
    task.answer(data, length, allocationLength)
    t.match(task, { transferLength, dataInCount: count, status: STATUS.GOOD, action: ACTION.DONE })
  }
})

t.test('limit() stops what moves more than the buffer of its direction holds', async (t) => {
  const task = new Task()
  for (const [direction, dataOutLength, dataInLength, overrun] of [
    [DIRECTION.IN, 0, 512, false],
    [DIRECTION.IN, 0, 511, true],
    [DIRECTION.IN, 4096, 0, true],
    [DIRECTION.OUT, 512, 0, false],
    [DIRECTION.OUT, 511, 4096, true],
    [DIRECTION.NONE, 0, 0, true],
  ] as const) {
    task.reset()
    Object.assign(task, { direction, dataOutLength, dataInLength, transferLength: 512, action: ACTION.READ })
    task.limit()
    t.match(task, { overrun, action: overrun ? ACTION.DONE : ACTION.READ })
  }
  task.reset()
  t.equal(task.overrun, false)
})

t.test('parameters are there, too many for the buffer, or were not gathered', async (t) => {
  const task = new Task()
  for (const [needed, gathered, buffer, taken, sense] of [
    [24, 24, 24, true, 0],
    [0, 0, 0, true, 0],
    [24, 10, 10, false, 0],
    [24, 0, 24, false, SENSE.INTERNAL_TARGET_FAILURE],
  ] as const) {
    task.reset()
    Object.assign(task, { parameterLength: gathered, dataOutLength: buffer, direction: DIRECTION.OUT })
    t.equal(task.takesParameters(needed), taken)
    t.equal(task.senseCode, sense)
    task.limit()
    t.equal(task.overrun, !taken && sense === 0)
  }
})

t.test('complete() gives the result of a block operation', async (t) => {
  const task = new Task()
  task.action = ACTION.READ
  complete(task, 512)
  t.match(task, { action: ACTION.DONE, status: STATUS.GOOD })
  task.action = ACTION.COMPARE
  complete(task, 0)
  t.equal(task.status, STATUS.GOOD)
  for (const [action, sense] of [
    [ACTION.READ, SENSE.UNRECOVERED_READ_ERROR],
    [ACTION.VERIFY, SENSE.UNRECOVERED_READ_ERROR],
    [ACTION.COMPARE, SENSE.UNRECOVERED_READ_ERROR],
    [ACTION.WRITE, SENSE.WRITE_ERROR],
    [ACTION.FLUSH, SENSE.WRITE_ERROR],
    [ACTION.DISCARD, SENSE.WRITE_ERROR],
  ] as const) {
    task.action = action
    complete(task, -ERRNO.EIO)
    t.match(task, { action: ACTION.DONE, status: STATUS.CHECK_CONDITION, senseCode: sense })
  }
  for (const [errno, status] of [
    [ERRNO.EBADE, STATUS.RESERVATION_CONFLICT],
    [ERRNO.EAGAIN, STATUS.TASK_SET_FULL],
  ] as const) {
    task.action = ACTION.WRITE
    task.transferLength = 512
    complete(task, -errno)
    t.match(task, { action: ACTION.DONE, status, senseLength: 0, transferLength: 0 })
  }
})

t.test('a difference is a MISCOMPARE at its block', async (t) => {
  const task = new Task()
  task.blockSize = 512
  for (const [offset, result, lba] of [
    [0, 1, 0],
    [0, 512, 0],
    [0, 513, 1],
    [512 * 0xffffffff, 512, 0xffffffff],
  ] as const) {
    task.action = ACTION.COMPARE
    task.offset = offset
    complete(task, result)
    t.equal(task.senseCode, SENSE.MISCOMPARE_DURING_VERIFY_OPERATION)
    t.equal(
      senseOf(task).slice(0, 20),
      `f0 00 0e ${lba
        .toString(16)
        .padStart(8, '0')
        .replace(/..(?=.)/g, '$& ')}`,
    )
  }
  task.action = ACTION.COMPARE
  task.offset = 512 * 2 ** 32
  complete(task, 1)
  t.equal(senseOf(task), normal('72 0e 1d 00 00*3 0c 00 0a 80 00 00 00 00 01 00*4'))
})
