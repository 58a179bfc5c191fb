import assert from 'node:assert/strict'
import { createEventfd, drainEventfd, ERRNO, raw } from 'memfd-mmap'
import t from 'tap'
import { CMD_REQUEST, CMD_RESPONSE, DESC_F, RESPONSE } from 'vhost-user-protocol-ts'
import type { Driver } from '../../iothreads/drivers/driver.js'
import { FAULT_CODES } from '../../iothreads/faults.js'
import { CANCEL, type CancelWaiter } from '../../iothreads/request.js'
import { FIELD, OPERATION, QUEUE_FIELD } from '../../iothreads/statistics.js'
import { FLAG, SENSE, STATUS } from '../../scsi/index.js'
import {
  BYTCHK,
  FUA,
  inquiry,
  read10,
  readCapacity10,
  reportLuns,
  SAME,
  senseCode,
  synchronizeCache10,
  TEST_UNIT_READY,
  unmap,
  verify10,
  verify16,
  write10,
  writeAndVerify10,
  writeSame16,
} from '../support/iothreads/cdb.js'
import { FakeDriver } from '../support/iothreads/fake-driver.js'
import { QueueRig, type QueueRigOptions } from '../support/iothreads/queue-rig.js'
import { type UnitOptions, unitSpec } from '../support/iothreads/units.js'
import { ringKind } from '../support/ring-kind.js'
import type { Teardown } from '../support/teardown.js'
import { packedDriver, splitDriver, writeNext } from '../support/vhost/ring-driver.js'

const SIZE = 2 ** 20

function unit(driver: Driver, o: UnitOptions = {}): QueueRigOptions['units'][number] {
  return { ...unitSpec({ kind: 'null', delayNs: 0 }, { size: SIZE, ...o }), driver }
}

function rigWith(
  t: Teardown,
  o: Partial<QueueRigOptions> = {},
  unitOptions: UnitOptions = {},
): { rig: QueueRig; driver: FakeDriver } {
  const driver = new FakeDriver(SIZE)
  const rig = new QueueRig(t, { units: [unit(driver, unitOptions)], ...o })
  return { rig, driver }
}

const random = (length: number, seed = 1): Uint8Array =>
  Uint8Array.from({ length }, (_, i) => (Math.imul(i + seed, 0x9e3779b1) >>> 13) & 0xff)

t.test('data goes both ways', async (t) => {
  const { rig, driver } = rigWith(t)
  const data = random(4096)
  const written = rig.run({ cdb: write10(8, 8), dataOut: data })
  t.match(written, { response: RESPONSE.OK, status: STATUS.GOOD, residual: 0, usedLength: CMD_RESPONSE.SIZE })
  t.equal(written.sense.length, 0)
  t.strictSame(driver.bytes.slice(4096, 8192), data)
  const read = rig.run({ cdb: read10(8, 8), dataIn: 4096 })
  t.match(read, { response: RESPONSE.OK, status: STATUS.GOOD, residual: 0, usedLength: CMD_RESPONSE.SIZE + 4096 })
  t.strictSame(read.data, data)
  t.strictSame(
    driver.calls.map(({ operation, write, offset, length, sync }) => ({ operation, write, offset, length, sync })),
    [
      { operation: 'transfer', write: true, offset: 4096, length: 4096, sync: false },
      { operation: 'transfer', write: false, offset: 4096, length: 4096, sync: false },
    ],
  )
  t.equal(rig.queue.busy, 0)
})

t.test('what FUA and a missing write cache ask of the driver', async (t) => {
  const { rig, driver } = rigWith(t)
  rig.run({ cdb: write10(0, 1, FUA), dataOut: random(512) })
  t.match(driver.calls.splice(0), [{ operation: 'transfer', write: true, sync: true }])
  rig.run({ cdb: read10(0, 1, FUA), dataIn: 512 })
  t.match(driver.calls.splice(0), [{ operation: 'flush' }, { operation: 'transfer', write: false }])
  const { rig: through, driver: disk } = rigWith(t, {}, { flags: 0 })
  through.run({ cdb: write10(0, 1), dataOut: random(512) })
  t.match(disk.calls.splice(0), [{ operation: 'transfer', sync: true }])
  through.run({ cdb: writeSame16(0, 8), dataOut: random(512) })
  t.match(disk.calls.splice(0), [{ operation: 'buffer', write: true, sync: true }])
  for (const byte1 of [0, SAME.UNMAP]) {
    through.run({ cdb: writeSame16(0, 8, byte1), dataOut: new Uint8Array(512) })
    t.match(disk.calls.splice(0), [{ operation: byte1 === 0 ? 'zero' : 'discard' }, { operation: 'flush' }])
    disk.deallocates = false
    through.run({ cdb: writeSame16(0, 8, byte1), dataOut: new Uint8Array(512) })
    t.match(disk.calls.splice(0), [{}, { operation: 'buffer', write: true, sync: true }])
    disk.deallocates = true
  }
})

t.test('a buffer that is larger than the transfer is left as it is behind it', async (t) => {
  const { rig, driver } = rigWith(t)
  driver.bytes.set(random(1024))
  const read = rig.run({ cdb: read10(0, 2), dataIn: 5000 }, { in: [CMD_RESPONSE.SIZE, 1000, 1000], gaps: [3, 5] })
  t.match(read, { status: 0, residual: 5000 - 1024, usedLength: CMD_RESPONSE.SIZE + 1024 })
  t.strictSame(read.data.slice(0, 1024), random(1024))
  t.ok(read.data.slice(1024).every((byte) => byte === 0))
  const written = rig.run({ cdb: write10(4, 1), dataOut: random(2000, 9) })
  t.match(written, { status: 0, residual: 2000 - 512, usedLength: CMD_RESPONSE.SIZE })
  t.strictSame(driver.bytes.slice(2048, 2560), random(512, 9))
  t.ok(driver.bytes.slice(2560).every((byte) => byte === 0))
})

t.test('a buffer that is too small, or of the wrong kind, ends with OVERRUN and nothing done', async (t) => {
  const { rig, driver } = rigWith(t)
  const cases = [
    { cdb: read10(0, 2), dataIn: 1023 },
    { cdb: read10(0, 2, FUA), dataIn: 1023 },
    { cdb: read10(0, 2) },
    { cdb: read10(0, 2), dataOut: random(1024) },
    { cdb: write10(0, 2), dataOut: random(1023) },
    { cdb: write10(0, 2) },
    { cdb: write10(0, 2), dataIn: 4096 },
    { cdb: writeAndVerify10(0, 2), dataIn: 4096 },
    { cdb: unmap([[0, 1]]).cdb, dataOut: random(23) },
    { cdb: verify10(0, 2, BYTCHK.COMPARE), dataIn: 4096 },
    { cdb: inquiry(36), dataIn: 35 },
    { cdb: inquiry(36), dataOut: random(36) },
  ]
  for (const command of cases) {
    const answer = rig.run(command)
    const size = (command.dataIn ?? 0) + (command.dataOut?.length ?? 0)
    t.match(answer, { response: RESPONSE.OVERRUN, residual: size, usedLength: CMD_RESPONSE.SIZE }, `${command.cdb}`)
    t.equal(answer.sense.length, 0)
    t.ok(answer.data.every((byte) => byte === 0))
  }
  t.equal(driver.calls.length, 0)
  t.equal(rig.run({ cdb: TEST_UNIT_READY }).status, STATUS.GOOD)
})

t.test('a WRITE SAME whose data is no block is refused by the device server, and nothing done', async (t) => {
  const { rig, driver } = rigWith(t)
  for (const command of [
    { cdb: writeSame16(0, 2), dataOut: random(511) },
    { cdb: writeSame16(0, 2), dataOut: random(1024) },
    { cdb: writeSame16(0, 2), dataIn: 512 },
  ]) {
    const answer = rig.run(command)
    const size = (command.dataIn ?? 0) + (command.dataOut?.length ?? 0)
    t.match(answer, { response: RESPONSE.OK, status: STATUS.CHECK_CONDITION, residual: size })
  }
  t.equal(driver.calls.length, 0)
})

t.test('commands that are answered at once, into buffers of any cut', async (t) => {
  const { rig } = rigWith(t)
  const plain = rig.run({ cdb: inquiry(96), dataIn: 96 })
  t.match(plain, { response: 0, status: 0 })
  t.equal(Buffer.from(plain.data.slice(8, 12)).toString(), 'TEST')
  const length = 96 - plain.residual
  t.equal(plain.usedLength, CMD_RESPONSE.SIZE + length)
  for (const layout of [
    { out: [1, 50], in: [3, 200], gaps: [1] },
    { out: [51], in: [108, 1, 1, 1, 1, 90], gaps: [7, 2] },
    { out: [50, 1], in: [107, 2, 95], gaps: [5] },
    { out: [51], in: [204], gaps: [0] },
    { out: [10, 0, 41], in: [0, 108, 0, 5, 91], gaps: [11] },
  ]) {
    for (const style of ['direct', 'indirect', 'mixed'] as const) {
      t.strictSame(rig.run({ cdb: inquiry(96), dataIn: 96 }, layout, style).data, plain.data)
    }
  }
  const short = rig.run({ cdb: inquiry(10), dataIn: 200 })
  t.match(short, { status: 0, residual: 190, usedLength: CMD_RESPONSE.SIZE + 10 })
  t.strictSame(short.data.slice(0, 10), plain.data.slice(0, 10))
  t.ok(short.data.slice(10).every((byte) => byte === 0))
  t.strictSame([...rig.run({ cdb: readCapacity10(), dataIn: 8 }).data], [0, 0, 7, 255, 0, 0, 2, 0])
})

t.test('sense data', async (t) => {
  const { rig } = rigWith(t)
  const bad = rig.run({ cdb: [0xff], dataIn: 512 })
  t.match(bad, { response: 0, status: STATUS.CHECK_CONDITION, residual: 512, usedLength: CMD_RESPONSE.SIZE })
  t.equal(senseCode(bad.sense), SENSE.INVALID_COMMAND_OPERATION_CODE)
  t.equal(bad.sense.length, 18)
  const behind = rig.run({ cdb: read10(SIZE / 512, 1), dataIn: 512 }, { in: [20, 30, 500], gaps: [9] })
  t.equal(senseCode(behind.sense), SENSE.LOGICAL_BLOCK_ADDRESS_OUT_OF_RANGE)
  t.equal(rig.run({ cdb: TEST_UNIT_READY }).sense.length, 0)
})

t.test('addresses', async (t) => {
  const driver = new FakeDriver(SIZE)
  const units = [
    unit(driver, { target: 3, lun: 0 }),
    unit(driver, { target: 3, lun: 300 }),
    unit(driver, { target: 9, lun: 5 }),
  ]
  const rig = new QueueRig(t, { units })
  const status = (target: number, lun: number): unknown[] => {
    const { response, status, sense } = rig.run({ cdb: TEST_UNIT_READY, target, lun })
    return [response, status, senseCode(sense)]
  }
  for (const [target, lun] of [
    [3, 0],
    [3, 300],
    [9, 5],
  ] as const) {
    t.strictSame(status(target, lun), [RESPONSE.OK, STATUS.GOOD, 0])
  }
  t.strictSame(status(0, 0), [RESPONSE.BAD_TARGET, 0, 0])
  t.strictSame(status(255, 0), [RESPONSE.BAD_TARGET, 0, 0])
  const none = [RESPONSE.OK, STATUS.CHECK_CONDITION, SENSE.LOGICAL_UNIT_NOT_SUPPORTED]
  for (const [target, lun] of [
    [3, 1],
    [3, 16383],
    [9, 0],
  ] as const)
    t.strictSame(status(target, lun), none)
  t.equal(rig.run({ cdb: inquiry(36), dataIn: 36, target: 9, lun: 1 }).data[0], 0x7f)
  t.equal(rig.statistics.readQueue(QUEUE_FIELD.TARGETLESS), 2)
  t.strictSame(rig.faults, [])
  // The REPORT LUNS well known logical unit, and LUN fields of no form.
  const luns = rig.run({ cdb: reportLuns(64), dataIn: 64, lunField: [0xc1, 1, 0, 0, 0, 0, 0, 0] })
  t.match(luns, { response: 0, status: 0 })
  t.equal(luns.data[3], 16)
  for (const lunField of [
    [0, 0, 0, 0, 0, 0, 0, 0],
    [1, 3, 0x80, 0, 0, 0, 0, 0],
    [2, 3, 0x40, 0, 0, 0, 0, 0],
    [0xc1, 2, 0, 0, 0, 0, 0, 0],
  ]) {
    t.match(rig.run({ cdb: TEST_UNIT_READY, lunField }), { response: RESPONSE.BAD_TARGET })
  }
  t.equal(rig.statistics.readFault('VUS_REQUEST_LUN_FORMAT'), 4)
  t.strictSame(rig.faults, new Array(4).fill({ code: 'VUS_REQUEST_LUN_FORMAT', fatal: false }))
})

t.test('no units at all', async (t) => {
  const rig = new QueueRig(t, { units: [] })
  t.equal(rig.run({ cdb: TEST_UNIT_READY }).response, RESPONSE.BAD_TARGET)
  t.equal(rig.run({ cdb: TEST_UNIT_READY, lunField: [0xc1, 1, 0, 0, 0, 0, 0, 0] }).response, RESPONSE.BAD_TARGET)
})

t.test('a read-only nexus', async (t) => {
  const { rig, driver } = rigWith(t, {}, { readOnly: true })
  t.equal(senseCode(rig.run({ cdb: write10(0, 1), dataOut: random(512) }).sense), SENSE.WRITE_PROTECTED)
  t.equal(senseCode(rig.run(unmap([[0, 8]])).sense), SENSE.WRITE_PROTECTED)
  t.equal(driver.calls.length, 0)
})

t.test('operations of several steps', async (t) => {
  const { rig, driver } = rigWith(t, { indirectEntries: 300, size: 512 })
  const pattern = random(512, 7)
  driver.bytes.fill(0xee)
  t.equal(rig.run({ cdb: writeSame16(2, 1500), dataOut: pattern }, { out: [51, 100, 1, 411], gaps: [13] }).status, 0)
  for (let i = 0; i < 1500; i++) {
    if (Buffer.compare(driver.bytes.subarray(1024 + 512 * i, 1536 + 512 * i), pattern) !== 0) t.fail(`block ${i}`)
  }
  t.equal(driver.bytes[1023], 0xee)
  t.equal(driver.bytes[1024 + 512 * 1500], 0xee)
  t.equal(rig.run({ cdb: verify10(2, 1500, BYTCHK.COMPARE_ONE_BLOCK), dataOut: pattern }).status, 0)
  driver.bytes[1024 + 512 * 700 + 5]! ^= 1
  const different = rig.run({ cdb: verify10(2, 1500, BYTCHK.COMPARE_ONE_BLOCK), dataOut: pattern })
  t.equal(senseCode(different.sense), SENSE.MISCOMPARE_DURING_VERIFY_OPERATION)
  t.equal(new DataView(different.sense.buffer).getUint32(3), 702)
  t.equal(different.residual, 512)
  const found = driver.bytes.slice(1024, 1024 + 512 * 1000)
  found[512 * 999 + 511]! ^= 1
  const cuts = [51, ...Array.from({ length: 200 }, (_, i) => 1 + i * 11)]
  const cut = rig.run({ cdb: verify10(2, 1000, BYTCHK.COMPARE), dataOut: found }, { out: cuts }, 'indirect')
  t.equal(senseCode(cut.sense), SENSE.MISCOMPARE_DURING_VERIFY_OPERATION)
  t.equal(new DataView(cut.sense.buffer).getUint32(3), 1001)
  found[512 * 999 + 511]! ^= 1
  t.equal(rig.run({ cdb: verify10(2, 1000, BYTCHK.COMPARE), dataOut: found }, { out: cuts }, 'indirect').status, 0)
  t.equal(rig.run({ cdb: verify10(0, 2000) }).status, 0)
  t.equal(rig.run({ cdb: synchronizeCache10() }).status, 0)
  const ranges = Array.from({ length: 100 }, (_, i) => [20 * i, 10] as const)
  t.equal(rig.run(unmap(ranges)).status, 0)
  t.ok(driver.bytes.every((byte, i) => (i % 10240 < 5120 && i < 20 * 100 * 512 ? byte === 0 : true)))
  t.ok(driver.bytes.subarray(5120, 10240).some((byte) => byte !== 0))
})

t.test('a program of very many operations that all end at once', async (t) => {
  const blocks = 200_000
  const driver = new FakeDriver(0)
  // Zeros for ever.
  driver.buffer = (_request, _write, _address, _offset, length) => length
  const rig = new QueueRig(t, { units: [unit(driver, { size: blocks * 512 })] })
  const { status } = rig.run({ cdb: verify16(0, blocks, BYTCHK.COMPARE_ONE_BLOCK), dataOut: new Uint8Array(512) })
  t.equal(status, STATUS.GOOD)
})

t.test('a transfer of which a part is moved goes on', async (t) => {
  const { rig, driver } = rigWith(t)
  driver.limit = 700
  const data = random(8192, 3)
  const layout = { out: [51, 1000, 1, 3000], in: [108, 5000], gaps: [3] }
  t.match(rig.run({ cdb: write10(1, 16), dataOut: data }, layout), { status: 0, residual: 0 })
  t.strictSame(driver.bytes.slice(512, 512 + 8192), data)
  const read = rig.run({ cdb: read10(1, 16), dataIn: 8192 }, layout)
  t.match(read, { status: 0, residual: 0, usedLength: 108 + 8192 })
  t.strictSame(read.data, data)
  driver.limit = 0
  t.equal(senseCode(rig.run({ cdb: read10(1, 16), dataIn: 8192 }).sense), SENSE.UNRECOVERED_READ_ERROR)
  t.equal(senseCode(rig.run({ cdb: write10(1, 16), dataOut: data }).sense), SENSE.WRITE_ERROR)
})

t.test("the medium's errors become sense data, at any step", async (t) => {
  const { rig, driver } = rigWith(t)
  const EIO = 5
  const ENOSPC = 28
  const commands = [
    { name: 'read', command: { cdb: read10(0, 8), dataIn: 4096 }, calls: 1, writes: false },
    { name: 'read, in parts', command: { cdb: read10(0, 8), dataIn: 4096 }, calls: 5, limit: 1000, writes: false },
    { name: 'read with FUA', command: { cdb: read10(0, 8, FUA), dataIn: 4096 }, calls: 2, writes: false },
    { name: 'write', command: { cdb: write10(0, 8), dataOut: random(4096) }, calls: 1, writes: true },
    {
      name: 'write, in parts',
      command: { cdb: write10(0, 8), dataOut: random(4096) },
      calls: 5,
      limit: 1000,
      writes: true,
    },
    { name: 'flush', command: { cdb: synchronizeCache10() }, calls: 1, writes: true },
    { name: 'write same', command: { cdb: writeSame16(0, 2048), dataOut: random(512) }, calls: 4, writes: true },
    { name: 'zeros', command: { cdb: writeSame16(0, 8), dataOut: new Uint8Array(512) }, calls: 1, writes: true },
    {
      name: 'unmap',
      command: unmap([
        [0, 1],
        [4, 1],
        [8, 1],
      ]),
      calls: 3,
      writes: true,
    },
    { name: 'verify', command: { cdb: verify10(0, 2048) }, calls: 4, writes: false },
    {
      name: 'compare',
      command: { cdb: verify10(0, 4, BYTCHK.COMPARE), dataOut: random(2048) },
      calls: 1,
      writes: false,
    },
    {
      name: 'write and verify',
      command: { cdb: writeAndVerify10(0, 4), dataOut: random(2048) },
      calls: 2,
      writes: true,
    },
  ]
  for (const { name, command, calls, limit, writes } of commands) {
    for (let failing = 0; failing < calls; failing++) {
      for (const pending of [false, true]) {
        driver.calls.length = 0
        driver.failures.clear()
        driver.failures.set(failing, EIO)
        rig.units.bindings[0]!.nexus.unit.state.clear(FLAG.WRITE_FAULT)
        driver.limit = limit ?? Number.POSITIVE_INFINITY
        driver.pending = pending
        const head = rig.submit(command)
        rig.turn()
        while (driver.waiting > 0) {
          const { request, result } = driver.finish()
          rig.queue.execution.completed(request, result)
        }
        rig.queue.publish()
        const [answer] = rig.answers()
        assert.equal(answer!.head, head)
        assert.equal(driver.calls.length, failing + 1, `${name}: nothing after call ${failing}`)
        const { status, sense, usedLength } = answer!.result!
        assert.equal(status, STATUS.CHECK_CONDITION)
        assert.equal(usedLength, CMD_RESPONSE.SIZE)
        const wasWriting = driver.calls[failing]!.write
        assert.equal(senseCode(sense), wasWriting ? SENSE.WRITE_ERROR : SENSE.UNRECOVERED_READ_ERROR, name)
        assert.ok(writes || !wasWriting || driver.calls[failing]!.operation === 'flush')
      }
    }
  }
  driver.failures.clear()
  rig.units.bindings[0]!.nexus.unit.state.clear(FLAG.WRITE_FAULT)
  driver.pending = false
  driver.limit = Number.POSITIVE_INFINITY
  driver.calls.length = 0
  driver.failures.set(0, ENOSPC)
  const full = rig.run({ cdb: write10(0, 1), dataOut: random(512) })
  t.equal(senseCode(full.sense), SENSE.SPACE_ALLOCATION_FAILED_WRITE_PROTECT)
  t.equal(rig.queue.busy, 0)
})

t.test('requests end in any order, each one where it belongs', async (t) => {
  const { rig, driver } = rigWith(t, { size: 256 })
  driver.bytes.set(random(SIZE))
  driver.pending = true
  const heads = Array.from({ length: 60 }, (_, i) => rig.submit({ cdb: read10(i * 3, 1), dataIn: 512, tag: i }))
  rig.turn()
  t.equal(rig.queue.busy, 60)
  t.equal(driver.waiting, 60)
  t.strictSame(rig.answers(), [])
  const waiting = Array.from({ length: 60 }, () => driver.finish())
  // Every seventh, round and round.
  for (let i = 0; i < 60; i++) {
    const { request, result } = waiting[(i * 7) % 60]!
    rig.queue.execution.completed(request, result)
  }
  t.strictSame(rig.answers(), [], 'not before they are published')
  rig.queue.publish()
  const answers = rig.answers()
  t.strictSame(
    answers.map(({ head }) => head),
    Array.from({ length: 60 }, (_, i) => heads[(i * 7) % 60]),
  )
  for (const { head, result } of answers) {
    const at = heads.indexOf(head) * 3 * 512
    t.strictSame(result!.data, driver.bytes.slice(at, at + 512))
  }
  t.equal(rig.queue.busy, 0)
})

t.test('what cannot be worked on yet stays in the ring', async (t) => {
  const { rig, driver } = rigWith(t, { size: 2048, indirectEntries: 3, regions: [{ guestAddress: 0, size: 2 ** 26 }] })
  driver.pending = true
  for (let i = 0; i < 1100; i++) rig.submit({ cdb: read10(i, 1), dataIn: 512 }, {}, 'indirect')
  rig.turn()
  t.equal(rig.queue.busy, 1024)
  t.equal(rig.queue.hasWork(), false, 'nothing can be fetched')
  t.equal(rig.queue.arm(), false, 'so nothing keeps it from sleeping')
  t.equal(rig.queue.drain(), 0)
  t.equal(rig.queue.virtqueue.base, ringKind.packed ? 0x8000_8000 + 1024 : 1024)
  for (let i = 0; i < 10; i++) {
    const { request, result } = driver.finish()
    rig.queue.execution.completed(request, result)
  }
  t.equal(rig.queue.hasWork(), true)
  t.equal(rig.queue.arm(), true)
  t.equal(rig.queue.drain(), 10)
  while (driver.waiting > 0) {
    const { request, result } = driver.finish()
    rig.queue.execution.completed(request, result)
    rig.queue.drain()
  }
  rig.queue.publish()
  t.equal(rig.answers().filter(({ result }) => result!.status === 0).length, 1100)
})

t.test('a request that is no request is answered if it has a place for that', async (t) => {
  const { rig } = rigWith(t)
  const area = rig.memory.allocate(4096, 64)
  const at = area.address
  const header = { address: at, length: CMD_REQUEST.SIZE, writable: false }
  const response = { address: at + 1024, length: CMD_RESPONSE.SIZE, writable: true }
  const nowhere = 2 ** 40
  const bytes = rig.memory.bytes(at, 4096)
  const cases = [
    { code: 'VUS_REQUEST_HEADER_SHORT', chain: [{ ...header, length: 50 }, response], answered: true },
    { code: 'VUS_REQUEST_HEADER_SHORT', chain: [response], answered: true },
    { code: 'VUS_REQUEST_HEADER_ADDRESS', chain: [{ ...header, address: nowhere }, response], answered: true },
    { code: 'VUS_REQUEST_RESPONSE_SHORT', chain: [header], answered: false },
    { code: 'VUS_REQUEST_RESPONSE_SHORT', chain: [header, { ...response, length: 107 }], answered: false },
    { code: 'VUS_REQUEST_RESPONSE_ADDRESS', chain: [header, { ...response, address: nowhere }], answered: false },
    {
      code: 'VUS_REQUEST_DATA_ADDRESS',
      chain: [header, response, { address: nowhere, length: 512, writable: true }],
      answered: true,
    },
    {
      code: 'VUS_REQUEST_BIDIRECTIONAL',
      chain: [
        header,
        { address: at + 2048, length: 1, writable: false },
        response,
        { address: at + 2048, length: 1, writable: true },
      ],
      answered: true,
    },
    {
      code: 'VUS_REQUEST_HEADER_SHORT',
      chain: [
        { ...header, length: 9 },
        { ...response, length: 100 },
        { ...response, address: at + 2048, length: 8 },
      ],
      answered: true,
      pieces: true,
    },
  ]
  for (const [i, { code, chain, answered, pieces }] of cases.entries()) {
    bytes.fill(0xcc)
    bytes[0] = 1
    bytes[2] = 0x40
    bytes.fill(0, 3, CMD_REQUEST.SIZE)
    bytes[1] = 0
    const head = rig.submitChain(chain)
    rig.turn()
    const [answer] = rig.answers()
    t.equal(answer!.head, head)
    t.equal(answer!.usedLength, answered ? CMD_RESPONSE.SIZE : 0, `${i}: ${code}`)
    t.strictSame(rig.faults.splice(0), [{ code, fatal: false }])
    t.ok(rig.statistics.readFault(code) > 0)
    t.equal(bytes[1024 + CMD_RESPONSE.RESPONSE], answered ? RESPONSE.FAILURE : 0xcc)
    if (answered && pieces !== true) t.ok(bytes.subarray(1024 + 12, 1024 + 108).every((byte) => byte === 0))
  }
  t.equal(rig.run({ cdb: TEST_UNIT_READY }).status, STATUS.GOOD, 'the ring goes on')
})

type Breaker = [string, (rig: QueueRig) => void]

/** Makes as many descriptors of a packed ring available. */
function fill(rig: QueueRig, count: number, flags: number): void {
  for (let i = 0; i < count; i++) writeNext(packedDriver(rig.ring), i, 0x1_0000, 64, flags)
}

t.test('a ring that cannot be understood is dead, and says where it stands', async (t) => {
  const split: Breaker[] = [
    ['VUS_RING_AVAILABLE_INDEX', (rig) => splitDriver(rig.ring).publishRaw(splitDriver(rig.ring).availIndex + 65)],
    ['VUS_RING_HEAD_OUT_OF_RANGE', (rig) => splitDriver(rig.ring).submitRaw(64)],
    [
      'VUS_RING_DESCRIPTOR_LOOP',
      (rig) => {
        rig.ring.writeDescriptor(60, 0x1_0000, 1, 1, 60)
        splitDriver(rig.ring).submitRaw(60)
      },
    ],
    [
      'VUS_RING_READABLE_AFTER_WRITABLE',
      (rig) => {
        rig.ring.writeDescriptor(60, 0x1_0000, 108, 1 | 2, 61)
        rig.ring.writeDescriptor(61, 0x1_0000, 51, 0, 0)
        splitDriver(rig.ring).submitRaw(60)
      },
    ],
  ]
  const packed: Breaker[] = [
    ['VUS_RING_AVAILABLE_INDEX', (rig) => fill(rig, 64, 0)],
    ['VUS_RING_INDIRECT_AND_NEXT', (rig) => fill(rig, 1, DESC_F.NEXT | DESC_F.INDIRECT)],
    [
      'VUS_RING_READABLE_AFTER_WRITABLE',
      (rig) => {
        writeNext(packedDriver(rig.ring), 0, 0x1_0000, 108, DESC_F.NEXT | DESC_F.WRITE)
        writeNext(packedDriver(rig.ring), 1, 0x1_0000, 51, 0)
      },
    ],
  ]
  const breakers = ringKind.packed ? packed : split
  for (const [code, breakIt] of breakers) {
    await t.test(code, async (t) => {
      const { rig, driver } = rigWith(t)
      const errFd = createEventfd()
      t.teardown(() => raw.close(errFd))
      rig.queue.errFd = errFd
      driver.pending = true
      const head = rig.submit({ cdb: read10(0, 1), dataIn: 512 })
      rig.turn()
      breakIt(rig)
      rig.ring.publish()
      rig.queue.drain()
      t.equal(rig.queue.broken, true)
      t.equal(rig.queue.fetching, false)
      t.strictSame(rig.faults, [{ code, fatal: true }])
      t.equal(rig.statistics.readFault(code), 1)
      t.equal(drainEventfd(errFd), 1)
      t.equal(rig.queue.virtqueue.base, ringKind.packed ? 0x8000_8003 : 1, 'what is bad has not been fetched')
      t.equal(rig.queue.busy, 1)
      rig.submit({ cdb: TEST_UNIT_READY })
      rig.turn()
      t.equal(rig.queue.hasWork(), false)
      t.equal(rig.queue.arm(), false)
      t.equal(drainEventfd(errFd), 0, 'told of once')
      const { request, result } = driver.finish()
      rig.queue.execution.completed(request, result)
      rig.queue.publish()
      t.strictSame(
        rig.answers().map((answer) => answer.head),
        [head],
        'what was in flight is answered',
      )
    })
  }
  t.ok(breakers.every(([code]) => FAULT_CODES.includes(code)))
})

t.test('notifications', async (t) => {
  for (const eventIdx of [true, false]) {
    const { rig, driver } = rigWith(t, { eventIdx })
    const callFd = createEventfd()
    t.teardown(() => raw.close(callFd))
    rig.queue.callFd = callFd
    rig.ring.enableInterrupts()
    for (let i = 0; i < 10; i++) rig.submit({ cdb: TEST_UNIT_READY })
    rig.turn()
    t.equal(drainEventfd(callFd), 1, 'one for a batch')
    rig.answers()
    rig.ring.disableInterrupts()
    rig.submit({ cdb: TEST_UNIT_READY })
    rig.turn()
    t.equal(drainEventfd(callFd), 0)
    rig.answers()
    rig.queue.publish()
    rig.ring.enableInterrupts()
    rig.queue.publish()
    t.equal(drainEventfd(callFd), 0, 'nothing to tell of')
    t.equal(rig.statistics.readQueue(QUEUE_FIELD.CALLS), 1)
    t.equal(rig.statistics.readQueue(QUEUE_FIELD.BATCHES), 2)
    // The way to sleep: ask for a notification, and look once more.
    t.equal(rig.queue.arm(), false)
    rig.submit({ cdb: read10(0, 1), dataIn: 512 })
    t.equal(rig.ring.publish(), true, 'the device wants to be told')
    t.equal(rig.queue.arm(), true, 'there is something')
    t.equal(rig.queue.hasWork(), true)
    rig.queue.virtqueue.disableNotifications()
    rig.submit({ cdb: read10(0, 1), dataIn: 512 })
    t.equal(rig.ring.publish(), false)
    rig.queue.fetching = false
    t.equal(rig.queue.drain(), 0)
    t.equal(rig.queue.arm(), false)
    t.equal(driver.calls.length, 0)
  }
})

t.test('counters', async (t) => {
  const { rig } = rigWith(t)
  rig.run({ cdb: read10(0, 8), dataIn: 8000 })
  rig.run({ cdb: read10(0, 1, FUA), dataIn: 512 })
  rig.run({ cdb: write10(0, 3), dataOut: random(1536) })
  rig.run({ cdb: write10(0, 3), dataOut: random(1000) })
  rig.run({ cdb: read10(SIZE, 1), dataIn: 512 })
  rig.run(unmap([[0, 1]]))
  rig.run({ cdb: synchronizeCache10() })
  rig.run({ cdb: inquiry(36), dataIn: 36 })
  const row = (operation: number): number[] =>
    [FIELD.REQUESTS, FIELD.BYTES, FIELD.ERRORS].map((field) => rig.statistics.read(0, operation, field))
  t.strictSame(row(OPERATION.READ), [2, 4096 + 512, 0])
  t.strictSame(row(OPERATION.WRITE), [1, 1536, 0])
  t.strictSame(row(OPERATION.UNMAP), [1, 24, 0])
  t.strictSame(row(OPERATION.FLUSH), [1, 0, 0])
  t.strictSame(row(OPERATION.OTHER), [2, 36, 1])
})

t.test('cancelled requests are answered once, with the reason', async (t) => {
  const { rig, driver } = rigWith(t, { size: 256 })
  driver.pending = true
  const data = random(2048)
  const commands = [
    { cdb: read10(0, 1), dataIn: 512 },
    { cdb: write10(0, 1), dataOut: random(512) },
    { cdb: read10(0, 1, FUA), dataIn: 512 },
    { cdb: writeSame16(0, 2048), dataOut: random(512) },
    { cdb: verify10(0, 2048) },
    { cdb: verify10(0, 4, BYTCHK.COMPARE), dataOut: data },
    { cdb: verify10(0, 4, BYTCHK.COMPARE_ONE_BLOCK), dataOut: random(512) },
    unmap([
      [0, 1],
      [5, 1],
    ]),
    { cdb: writeAndVerify10(0, 4), dataOut: data },
    { cdb: synchronizeCache10() },
  ]
  // The buffers that steps use come from the pool, and go back there.
  const bounces = commands.map(() => rig.pool.take()!)
  const addresses = bounces.map(({ address }) => address).sort()
  for (const bounce of bounces) rig.pool.give(bounce)
  for (const reason of [CANCEL.ABORTED, CANCEL.RESET]) {
    for (let steps = 0; steps < 3; steps++) {
      const heads = commands.map((command, i) => rig.submit({ ...command, tag: i }))
      rig.turn()
      // As many of their steps as asked for.
      for (let step = 0; step < steps; step++) {
        for (let n = driver.waiting; n > 0; n--) {
          const { request, result } = driver.finish()
          rig.queue.execution.completed(request, result)
        }
      }
      rig.queue.publish()
      const before = rig.answers()
      t.ok(before.every(({ result }) => result!.response === RESPONSE.OK))
      const requests = rig.queue.matching({ target: 0, lun: 0, tag: null })
      t.equal(requests.length, heads.length - before.length)
      const one: CancelWaiter = { count: requests.length, remaining: requests.length }
      const other: CancelWaiter = { count: 1, remaining: 1 }
      for (const request of requests) {
        request.cancel = reason
        request.waiters = request === requests[0] ? [one, other] : [one]
      }
      while (driver.waiting > 0) {
        const { request, result } = driver.finish()
        rig.queue.execution.completed(request, result)
      }
      rig.queue.publish()
      const answers = rig.answers()
      t.strictSame(new Set([...before, ...answers].map(({ head }) => head)), new Set(heads))
      const response = reason === CANCEL.RESET ? RESPONSE.RESET : RESPONSE.ABORTED
      t.ok(answers.every(({ result }) => result!.response === response && result!.status === 0))
      t.ok(answers.every(({ usedLength }) => usedLength === CMD_RESPONSE.SIZE))
      t.equal(one.remaining, 0)
      t.equal(other.remaining, requests.length > 0 ? 0 : 1)
      t.equal(rig.queue.busy, 0)
      const back = commands.map(() => rig.pool.take()!)
      t.strictSame(back.map(({ address }) => address).sort(), addresses, 'all bounce buffers are back')
      for (const bounce of back) rig.pool.give(bounce)
    }
  }
  driver.pending = false
  t.match(rig.run({ cdb: read10(0, 1), dataIn: 512 }), { response: 0, status: 0 }, 'the request is as new')
})

t.test('a flush that fails after it was cancelled is remembered', async (t) => {
  const { rig, driver } = rigWith(t)
  driver.pending = true
  const flush = (result: number): number => {
    rig.submit({ cdb: synchronizeCache10() })
    rig.turn()
    for (const request of rig.queue.matching({ target: 0, lun: 0, tag: null })) request.cancel = CANCEL.ABORTED
    rig.queue.execution.completed(driver.finish().request, result)
    rig.queue.publish()
    return rig.answers()[0]!.result!.response
  }
  for (const result of [0, -ERRNO.ECANCELED, -ERRNO.EINTR]) t.equal(flush(result), RESPONSE.ABORTED)
  t.strictSame(rig.mediumFaults, [], 'one that was taken back has not failed')
  t.equal(flush(-ERRNO.EIO), RESPONSE.ABORTED)
  t.strictSame(rig.mediumFaults, [{ unit: 0, errno: ERRNO.EIO }])
  driver.pending = false
  t.equal(rig.run({ cdb: synchronizeCache10() }).status, STATUS.CHECK_CONDITION)
})

t.test('what is in the ring when a function comes is answered without being started', async (t) => {
  const { rig, driver } = rigWith(t, { size: 64 })
  driver.pending = true
  const read = (tag: number, lun = 0): number => rig.submit({ cdb: read10(0, 1), dataIn: 512, tag, lun })
  const heads = [read(1), read(2), read(3), read(2), read(2, 5)]
  rig.ring.publish()
  const one: CancelWaiter = { count: 0, remaining: 0 }
  rig.queue.sweep({ target: 0, lun: 0, tag: [2, 0] }, CANCEL.ABORTED, one)
  t.same(one, { count: 2, remaining: 0 })
  t.strictSame(
    driver.calls.map(({ request }) => request.tagLow),
    [1, 3],
    'the others are',
  )
  rig.queue.publish()
  t.strictSame(
    rig.answers().map(({ head, result }) => [head, result!.response]),
    [
      [heads[1], RESPONSE.ABORTED],
      [heads[3], RESPONSE.ABORTED],
      [heads[4], RESPONSE.OK],
    ],
  )
  rig.queue.sweep({ target: 0, lun: 0, tag: null }, CANCEL.RESET, one)
  t.same(one, { count: 2, remaining: 0 }, 'an empty ring is not waited for')
  const later = read(2)
  rig.turn()
  t.equal(driver.calls.at(-1)!.request.head & 0xffff, later, 'what comes afterwards is started')
})

t.test('a ring that holds more than can be fetched at once is searched to where it ended', async (t) => {
  const { rig, driver } = rigWith(t, { size: 4096, regions: [{ guestAddress: 0x1_0000, size: 64 * 2 ** 20 }] })
  driver.pending = true
  const submit = (count: number, tag: number, lun = 0): number[] => {
    const heads = Array.from({ length: count }, () =>
      rig.submit({ cdb: read10(0, 1), dataIn: 512, tag, lun }, undefined, 'indirect'),
    )
    rig.ring.publish()
    return heads
  }
  submit(1100, 1)
  while (rig.queue.drain() > 0);
  t.equal(driver.calls.length, 1024, 'as many as are worked on at once')
  submit(50, 2)
  const search = (reason: number, tag: number | null): CancelWaiter => {
    const waiter: CancelWaiter = { count: 0, remaining: 0 }
    rig.queue.sweep({ target: 0, lun: 0, tag: tag === null ? null : [tag, 0] }, reason, waiter)
    return waiter
  }
  // 76 and 50 are in the ring, then 30 and 20 more.
  const waiters = [search(CANCEL.ABORTED, 2), search(CANCEL.RESET, 3)]
  submit(30, 3)
  waiters.push(search(CANCEL.RESET, null))
  submit(20, 4)
  const end = (): void => {
    const { request, result } = driver.finish()
    rig.queue.execution.completed(request, result)
    rig.queue.drain()
  }
  t.strictSame(
    waiters.map(({ remaining }) => remaining),
    [1, 1, 1],
  )
  end()
  // The first free request is used over and over by what is not started.
  t.strictSame(waiters, [
    { count: 50, remaining: 0 },
    { count: 0, remaining: 0 },
    { count: 76 + 30, remaining: 0 },
  ])
  while (driver.waiting > 0) end()
  t.strictSame(
    driver.calls.slice(1024).map(({ request }) => request.tagLow),
    new Array(20).fill(4),
    'only what came later is started',
  )
  rig.queue.publish()
  const count = (response: number): number =>
    answers.filter(({ result }) => result!.response === response && result!.status === 0).length
  const answers = rig.answers()
  t.equal(count(RESPONSE.ABORTED), 50)
  t.equal(count(RESPONSE.RESET), 106)
  t.equal(count(RESPONSE.OK), 1024 + 20)
})

t.test('a ring that is stopped or breaks is not searched on', async (t) => {
  for (const breaks of [false, true]) {
    const { rig, driver } = rigWith(t, { size: 2048, regions: [{ guestAddress: 0x1_0000, size: 64 * 2 ** 20 }] })
    driver.pending = true
    for (let tag = 0; tag < 1100; tag++) rig.submit({ cdb: read10(0, 1), dataIn: 512, tag }, undefined, 'indirect')
    rig.turn()
    const waiter: CancelWaiter = { count: 0, remaining: 0 }
    rig.queue.sweep({ target: 0, lun: 0, tag: null }, CANCEL.RESET, waiter)
    t.equal(waiter.remaining, 1)
    if (breaks) {
      if (ringKind.packed) fill(rig, 1000, 0)
      else splitDriver(rig.ring).publishRaw(60_000)
      rig.queue.drain()
      t.equal(rig.queue.broken, true)
    } else {
      rig.queue.stopFetching()
    }
    t.same(waiter, { count: 0, remaining: 0 })
    rig.queue.sweep({ target: 0, lun: 0, tag: null }, CANCEL.RESET, waiter)
    t.same(waiter, { count: 0, remaining: 0 })
    while (driver.waiting > 0) {
      const { request, result } = driver.finish()
      rig.queue.execution.completed(request, result)
    }
  }
})

t.test('a request that finds no bounce buffer is to be sent again', async (t) => {
  const { rig } = rigWith(t)
  const taken = Array.from({ length: 128 }, () => rig.pool.take()!)
  t.match(rig.run({ cdb: verify10(0, 8) }), { response: RESPONSE.OK, status: STATUS.TASK_SET_FULL, residual: 0 })
  for (const bounce of taken) rig.pool.give(bounce)
  t.match(rig.run({ cdb: verify10(0, 8) }), { response: RESPONSE.OK, status: STATUS.GOOD })
})

t.test('after a failed flush nothing is called written any more', async (t) => {
  const { rig, driver } = rigWith(t)
  driver.pending = true
  rig.submit({ cdb: synchronizeCache10() })
  rig.turn()
  rig.queue.execution.completed(driver.finish().request, -ERRNO.EIO)
  rig.queue.publish()
  t.match(rig.answers()[0]!.result, { response: RESPONSE.OK, status: STATUS.CHECK_CONDITION })
  t.strictSame(rig.mediumFaults, [{ unit: 0, errno: ERRNO.EIO }])
  driver.pending = false
  const calls = driver.calls.length
  for (const command of [{ cdb: synchronizeCache10() }, { cdb: write10(0, 1), dataOut: random(512) }]) {
    const { status, sense } = rig.run(command)
    t.equal(status, STATUS.CHECK_CONDITION)
    t.equal(sense[2]! & 0x0f, 3, 'MEDIUM ERROR')
  }
  t.equal(driver.calls.length, calls, 'the driver is not asked')
  t.match(rig.run({ cdb: read10(0, 1), dataIn: 512 }), { status: STATUS.GOOD })
})

t.test('a flush that makes zeros durable is a flush', async (t) => {
  const { rig, driver } = rigWith(t, {}, { flags: 0 })
  driver.failures.set(1, ERRNO.EIO)
  const answer = rig.run({ cdb: writeSame16(0, 8), dataOut: new Uint8Array(512) })
  t.equal(senseCode(answer.sense), SENSE.WRITE_ERROR)
  t.strictSame(rig.mediumFaults, [{ unit: 0, errno: ERRNO.EIO }])
  t.equal(rig.run({ cdb: synchronizeCache10() }).status, STATUS.CHECK_CONDITION)
})

t.test('requests in flight are found by unit and tag', async (t) => {
  const driver = new FakeDriver(SIZE)
  driver.pending = true
  const rig = new QueueRig(t, { units: [unit(driver), unit(driver, { lun: 1 }), unit(driver, { target: 1 })] })
  const places = [
    [0, 0, 5],
    [0, 0, 6],
    [0, 1, 5],
    [1, 0, 5],
    [0, 0, 2 ** 40 + 5],
    [0, 0, 0xffffffff],
  ] as const
  for (const [target, lun, tag] of places) rig.submit({ cdb: read10(0, 1), dataIn: 512, target, lun, tag })
  rig.turn()
  const count = (target: number, lun: number, tag: readonly [number, number] | null): number =>
    rig.queue.matching({ target, lun, tag }).length
  t.equal(count(0, 0, null), 4)
  t.equal(count(0, 0, [5, 0]), 1)
  t.equal(count(0, 0, [5, 256]), 1)
  t.equal(count(0, 0, [-1, 0]), 1)
  t.equal(count(0, 0, [7, 0]), 0)
  t.equal(count(0, 1, null), 1)
  t.equal(count(1, 0, [5, 0]), 1)
  t.equal(count(1, 1, null), 0)
  while (driver.waiting > 0) {
    const { request, result } = driver.finish()
    rig.queue.execution.completed(request, result)
  }
  t.equal(count(0, 0, null), 0)
})

t.test('unit attentions are reported once', async (t) => {
  const driver = new FakeDriver(SIZE)
  const spec = unit(driver)
  const rig = new QueueRig(t, { units: [spec] })
  new Int32Array(spec.attention)[0] = 1
  const first = rig.run({ cdb: read10(0, 1), dataIn: 512 })
  t.equal(senseCode(first.sense), SENSE.POWER_ON_RESET_OR_BUS_DEVICE_RESET_OCCURRED)
  t.equal(rig.run({ cdb: read10(0, 1), dataIn: 512 }).status, 0)
  new Int32Array(spec.state)[0]! |= FLAG.NOT_READY
  t.equal(senseCode(rig.run({ cdb: read10(0, 1), dataIn: 512 }).sense), SENSE.LOGICAL_UNIT_NOT_READY)
})
