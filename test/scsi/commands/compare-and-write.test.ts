import t from 'tap'
import { LIMITS, mostCompared } from '../../../scsi/block-limits.js'
import { ERRNO } from '../../../scsi/errno.js'
import { SENSE } from '../../../scsi/sense.js'
import { ACTION } from '../../../scsi/task.js'
import { FLAG } from '../../../scsi/unit-state.js'
import { BLOCKS, fixture } from '../support/fixture.js'
import { normal } from '../support/hex.js'

/** COMPARE AND WRITE of `blocks` blocks at `lba`. */
const cdb = (lba: number, blocks: number, options = 0): Uint8Array =>
  Uint8Array.of(0x89, options, 0, 0, 0, 0, 0, 0, lba >>> 8, lba, 0, 0, 0, blocks, 0, 0)

/** `length` bytes to compare with, of `before`, and as many to write, of `after`. */
const data = (length: number, before: number, after: number): Uint8Array =>
  new Uint8Array(2 * length).fill(before, 0, length).fill(after, length)

t.test('writes the second half of data-out where the medium holds the first', async (t) => {
  const { initiator, medium } = fixture()
  medium.bytes.fill(7, 5 * 512, 7 * 512)
  t.match(initiator.send(cdb(5, 2), { out: data(1024, 7, 9) }), { status: 0, residual: 0, overrun: false })
  t.same(medium.log, [[ACTION.COMPARE_AND_WRITE, 2560, 1024, false]])
  t.ok(medium.bytes.subarray(2560, 3584).every((byte) => byte === 9))
  t.equal(medium.bytes.filter((byte) => byte !== 0).length, 1024, 'and nowhere else')
})

t.test('MISCOMPARE tells the offset in data-out, of the first byte that differs', async (t) => {
  const { initiator, medium } = fixture()
  medium.bytes.fill(7, 2560, 3584)
  medium.bytes[2560 + 700] = 8
  medium.bytes[2560 + 900] = 8
  t.match(initiator.send(cdb(5, 2), { out: data(1024, 7, 9) }), {
    senseCode: SENSE.MISCOMPARE_DURING_VERIFY_OPERATION,
    sense: normal('f0 00 0e 00 00 02 bc 0a 00*4 1d 00 00*4'),
    residual: 2048,
  })
  t.equal(medium.bytes[2560], 7, 'nothing is written')
})

t.test('the sense is a descriptor where the unit is set so', async (t) => {
  const { initiator, state } = fixture()
  state.set(FLAG.DESCRIPTOR_SENSE)
  t.equal(
    initiator.send(cdb(5, 1), { out: data(512, 7, 9) }).sense,
    normal('72 0e 1d 00 00 00 00 0c 00 0a 80 00 00*4 00 00 00 00'),
  )
})

t.test('FUA, and every write without a write cache, is durable; DPO is taken no notice of', async (t) => {
  const { initiator, medium, state } = fixture()
  initiator.send(cdb(0, 1, 0x08), { out: data(512, 0, 0) })
  initiator.send(cdb(0, 1, 0x10), { out: data(512, 0, 0) })
  state.clear(FLAG.WRITE_CACHE)
  initiator.send(cdb(0, 1), { out: data(512, 0, 0) })
  t.same(
    medium.log.map((each) => each[3]),
    [true, false, true],
  )
})

t.test('no blocks are no error, on the medium', async (t) => {
  const { initiator, medium } = fixture()
  t.match(initiator.send(cdb(BLOCKS, 0)), { status: 0, overrun: false })
  t.match(initiator.send(cdb(0, 0), { out: new Uint8Array(512) }), { status: 0, residual: 512 })
  t.equal(initiator.send(cdb(BLOCKS + 1, 0)).senseCode, SENSE.LOGICAL_BLOCK_ADDRESS_OUT_OF_RANGE)
  t.equal(
    initiator.send(cdb(BLOCKS - 1, 2), { out: data(1024, 0, 0) }).senseCode,
    SENSE.LOGICAL_BLOCK_ADDRESS_OUT_OF_RANGE,
  )
  t.same(medium.log, [])
})

t.test('as many blocks as Block Limits says, and no more', async (t) => {
  t.equal(mostCompared(512), 255)
  t.equal(mostCompared(4096), LIMITS.COMPARE_BYTES / 4096)
  for (const blockSize of [512, 4096]) {
    const { initiator, unit } = fixture({ blockSize, physicalBlockSize: 4096 })
    const most = mostCompared(blockSize)
    t.equal(unit.vpdPages.get(0xb0)![5], most)
    t.match(initiator.send(cdb(0, most), { out: data(most * blockSize, 0, 1) }), { status: 0 })
    t.match(initiator.send(cdb(0, most), { out: data(most * blockSize, 1, 0) }), { status: 0 })
    if (most < 255) {
      const reply = initiator.send(cdb(0, most + 1), { out: data((most + 1) * blockSize, 0, 1) })
      t.equal(reply.sense, normal('70 00 05 00*4 0a 00*4 24 00 00 cf 00 0d'))
    }
  }
})

t.test('256 blocks, whose number does not fit the CDB, are not taken for none', async (t) => {
  const { initiator, medium } = fixture()
  const reply = initiator.send(cdb(0, 256), { out: data(256 * 512, 0, 1) })
  t.equal(reply.sense, normal('70 00 05 00*4 0a 00*4 24 00 00 cf 00 0d'))
  t.same(medium.log, [])
})

t.test('a buffer for less than both halves is an overrun', async (t) => {
  const { initiator, medium } = fixture()
  t.match(initiator.send(cdb(0, 2), { out: new Uint8Array(2047) }), { overrun: true })
  t.match(initiator.send(cdb(0, 1)), { overrun: true })
  t.same(medium.log, [])
})

t.test('refused: WRPROTECT, and a unit that is not written to', async (t) => {
  const { initiator } = fixture()
  t.equal(initiator.send(cdb(0, 1, 0x20), { out: data(512, 0, 1) }).senseCode, SENSE.INVALID_FIELD_IN_CDB)
  const readOnly = fixture({}, { readOnly: true })
  t.equal(readOnly.initiator.send(cdb(0, 1), { out: data(512, 0, 1) }).senseCode, SENSE.WRITE_PROTECTED)
})

t.test('a failure of the medium', async (t) => {
  const { initiator, medium } = fixture()
  medium.faults.set(ACTION.COMPARE_AND_WRITE, ERRNO.EIO)
  t.equal(initiator.send(cdb(0, 1), { out: data(512, 0, 1) }).senseCode, SENSE.WRITE_ERROR)
})

t.test('is not repeated after a crash', async (t) => {
  t.equal(fixture().unit.commands.find(cdb(0, 1)).repeatable, false)
})
