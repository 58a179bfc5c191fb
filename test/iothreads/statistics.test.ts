import t from 'tap'
import { FAULT_CODES } from '../../iothreads/faults.js'
import {
  FIELD,
  OPERATION,
  OPERATION_NAMES,
  operationOf,
  QUEUE_FIELD,
  QueueStatistics,
} from '../../iothreads/statistics.js'
import { createNexusWords, LogicalUnit, Nexus, Task, UnitState } from '../../scsi/index.js'
import { unitConfig } from '../support/iothreads/units.js'

t.test('each operation of each LUN has counters of its own', async (t) => {
  const statistics = new QueueStatistics(3)
  const operations = Object.values(OPERATION).filter((each) => each !== OPERATION.COUNT)
  t.equal(operations.length, OPERATION_NAMES.length)
  for (let lun = 0; lun < 3; lun++) {
    for (const operation of operations) {
      const times = 1 + lun * 10 + operation
      for (let i = 0; i < times; i++) statistics.count(lun, operation, 512 * times, i === 0)
    }
  }
  for (let lun = 0; lun < 3; lun++) {
    for (const operation of operations) {
      const times = 1 + lun * 10 + operation
      t.equal(statistics.read(lun, operation, FIELD.REQUESTS), times)
      t.equal(statistics.read(lun, operation, FIELD.BYTES), 512 * times * times)
      t.equal(statistics.read(lun, operation, FIELD.ERRORS), 1)
    }
  }
  for (let field = 0; field < QUEUE_FIELD.COUNT; field++) t.equal(statistics.readQueue(field), 0)
})

t.test('queue-wide counters and faults', async (t) => {
  const statistics = new QueueStatistics(1)
  t.equal(new Set(FAULT_CODES).size, FAULT_CODES.length)
  statistics.add(QUEUE_FIELD.KICKS)
  statistics.add(QUEUE_FIELD.CALLS)
  statistics.add(QUEUE_FIELD.CALLS)
  for (const [i, code] of FAULT_CODES.entries()) for (let n = 0; n <= i; n++) statistics.addFault(code)
  t.equal(statistics.readQueue(QUEUE_FIELD.KICKS), 1)
  t.equal(statistics.readQueue(QUEUE_FIELD.CALLS), 2)
  t.equal(statistics.readQueue(QUEUE_FIELD.BATCHES), 0)
  t.equal(statistics.readQueue(QUEUE_FIELD.TARGETLESS), 0)
  t.strictSame(
    FAULT_CODES.map((code) => statistics.readFault(code)),
    FAULT_CODES.map((_, i) => i + 1),
  )
  t.equal(statistics.read(0, OPERATION.READ, FIELD.REQUESTS), 0)
})

t.test('the same memory seen twice', async (t) => {
  const writer = new QueueStatistics(2)
  const reader = new QueueStatistics(2, writer.memory)
  writer.count(1, OPERATION.WRITE, 2 ** 40, false)
  writer.count(1, OPERATION.WRITE, 2 ** 40 + 1, false)
  t.equal(reader.read(1, OPERATION.WRITE, FIELD.BYTES), 2 ** 41 + 1)
  t.equal(reader.read(7, OPERATION.WRITE, FIELD.BYTES), 0, 'a LUN that is not there')
})

t.test('room for more LUNs', async (t) => {
  const statistics = new QueueStatistics(1)
  statistics.count(0, OPERATION.OTHER, 9, true)
  statistics.add(QUEUE_FIELD.KICKS)
  const { memory } = statistics
  statistics.grow(1)
  t.equal(statistics.memory, memory, 'there is room already')
  statistics.grow(3)
  t.not(statistics.memory, memory)
  t.equal(statistics.readQueue(QUEUE_FIELD.KICKS), 1)
  t.equal(statistics.read(0, OPERATION.OTHER, FIELD.ERRORS), 1, 'what was counted stays')
  new QueueStatistics(3, statistics.memory).count(2, OPERATION.READ, 7, false)
  t.equal(statistics.read(2, OPERATION.READ, FIELD.BYTES), 7)
  t.equal(statistics.read(1, OPERATION.READ, FIELD.REQUESTS), 0)
  statistics.grow(2)
  t.equal(statistics.read(2, OPERATION.READ, FIELD.BYTES), 7, 'it never gets less')
})

t.test('what commands are counted as', async (t) => {
  const state = UnitState.create(1000)
  const unit = new LogicalUnit(unitConfig(), state)
  const nexus = new Nexus(unit, 0, 0, createNexusWords(), false)
  const zeros = new Uint8Array(4096)
  const ones = new Uint8Array(4096).fill(1)
  const unmapOne = Uint8Array.from([0, 22, 0, 16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 0])
  const unmapTwo = Uint8Array.from([0, 38, 0, 32, ...new Array(4).fill(0), ...unmapOne.slice(8), ...unmapOne.slice(8)])
  const cases: [string, number[], Uint8Array, number][] = [
    ['READ(10)', [0x28, 0, 0, 0, 0, 0, 0, 0, 1], zeros, OPERATION.READ],
    ['READ(10) FUA', [0x28, 8, 0, 0, 0, 0, 0, 0, 1], zeros, OPERATION.READ],
    ['WRITE(10)', [0x2a, 0, 0, 0, 0, 0, 0, 0, 1], zeros, OPERATION.WRITE],
    ['WRITE AND VERIFY(10)', [0x2e, 0, 0, 0, 0, 0, 0, 0, 1], zeros, OPERATION.WRITE],
    ['WRITE SAME(10)', [0x41, 0, 0, 0, 0, 0, 0, 0, 1], ones.subarray(0, 512), OPERATION.WRITE],
    ['WRITE SAME(10) of zeros', [0x41, 8, 0, 0, 0, 0, 0, 0, 1], zeros.subarray(0, 512), OPERATION.UNMAP],
    ['UNMAP', [0x42, 0, 0, 0, 0, 0, 0, 0, 24], unmapOne, OPERATION.UNMAP],
    ['UNMAP of two', [0x42, 0, 0, 0, 0, 0, 0, 0, 40], unmapTwo, OPERATION.UNMAP],
    ['SYNCHRONIZE CACHE', [0x35], zeros, OPERATION.FLUSH],
    ['TEST UNIT READY', [0], zeros, OPERATION.OTHER],
    ['VERIFY(10)', [0x2f, 0, 0, 0, 0, 0, 0, 0, 1], zeros, OPERATION.OTHER],
    ['INQUIRY', [0x12, 0, 0, 0, 36], zeros, OPERATION.OTHER],
    ['an unknown one', [0xff], zeros, OPERATION.OTHER],
  ]
  for (const [name, cdb, parameters, expected] of cases) {
    const task = new Task()
    task.cdbBytes.set(cdb)
    task.dataInLength = 4096
    task.dataOutLength = parameters.length
    task.parameters = parameters
    task.parameterLength = parameters.length
    nexus.execute(task)
    t.equal(OPERATION_NAMES[operationOf(task)], OPERATION_NAMES[expected], name)
  }
})
