import t from 'tap'
import { ERRNO } from '../../../scsi/errno.js'
import { SENSE } from '../../../scsi/sense.js'
import { ACTION } from '../../../scsi/task.js'
import { fixture } from '../support/fixture.js'
import { normal } from '../support/hex.js'

/** The three forms of a command for LBA 5 and a number of blocks, with byte 1 as given. */
function forms(ten: number, options: number, blocks: number): Uint8Array[] {
  const [twelve, sixteen] = [ten + 0x80, ten + 0x60]
  return [
    Uint8Array.of(ten, options, 0, 0, 0, 5, 0, 0, blocks, 0),
    Uint8Array.of(twelve, options, 0, 0, 0, 5, 0, 0, 0, blocks, 0, 0),
    Uint8Array.of(sixteen, options, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, blocks, 0, 0),
  ]
}

const VERIFY = 0x2f
const WRITE_AND_VERIFY = 0x2e

t.test('VERIFY reads the medium, and takes no data', async (t) => {
  for (const cdb of forms(VERIFY, 0x10, 2)) {
    const { initiator, medium } = fixture()
    t.match(initiator.send(cdb, { out: new Uint8Array(1024) }), { status: 0, overrun: false, residual: 1024 })
    t.match(initiator.send(cdb), { status: 0, overrun: false })
    t.same(medium.log[0], [ACTION.VERIFY, 2560, 1024, false])
    medium.faults.set(ACTION.VERIFY, ERRNO.EIO)
    t.equal(initiator.send(cdb).senseCode, SENSE.UNRECOVERED_READ_ERROR)
  }
})

t.test('VERIFY with BYTCHK 1 compares', async (t) => {
  for (const cdb of forms(VERIFY, 0x02, 2)) {
    const { initiator, medium } = fixture()
    const data = new Uint8Array(1024).fill(7)
    medium.bytes.set(data, 2560)
    t.match(initiator.send(cdb, { out: data }), { status: 0, residual: 0 })
    data[600] = 8
    t.match(initiator.send(cdb, { out: data }), {
      senseCode: SENSE.MISCOMPARE_DURING_VERIFY_OPERATION,
      sense: normal('f0 00 0e 00 00 00 06 0a 00*4 1d 00 00*4'),
      residual: 1024,
    })
    t.match(initiator.send(cdb, { out: data.subarray(1) }), { overrun: true })
    t.match(initiator.send(cdb), { overrun: true })
    t.equal(medium.log.length, 2)
    medium.faults.set(ACTION.COMPARE, ERRNO.EIO)
    t.equal(initiator.send(cdb, { out: data }).senseCode, SENSE.UNRECOVERED_READ_ERROR)
  }
})

t.test('VERIFY with BYTCHK 3 compares every block with one', async (t) => {
  for (const cdb of forms(VERIFY, 0x06, 3)) {
    const { initiator, medium } = fixture()
    const block = new Uint8Array(512).map((_, i) => i & 0xff)
    for (const lba of [5, 6, 7]) medium.bytes.set(block, lba * 512)
    t.match(initiator.send(cdb, { out: block }), { status: 0, residual: 0 })
    t.same(
      medium.log.map(([action, offset, length]) => [action, offset, length]),
      [5, 6, 7].map((lba) => [ACTION.COMPARE, lba * 512, 512]),
    )
    medium.bytes[6 * 512 + 511] = 0
    t.equal(initiator.send(cdb, { out: block }).sense, normal('f0 00 0e 00 00 00 06 0a 00*4 1d 00 00*4'))
    t.match(initiator.send(cdb, { out: block.subarray(1) }), { overrun: true })
    medium.faults.set(ACTION.COMPARE, ERRNO.EIO)
    t.equal(initiator.send(cdb, { out: block }).senseCode, SENSE.UNRECOVERED_READ_ERROR)
  }
})

t.test('VERIFY: BYTCHK 2 is reserved, no blocks are no error, ranges are checked, VRPROTECT is refused', async (t) => {
  const { initiator, medium } = fixture()
  for (const cdb of forms(VERIFY, 0x04, 1)) {
    t.equal(initiator.send(cdb).sense, normal('70 00 05 00*4 0a 00*4 24 00 00 ca 00 01'))
  }
  for (const options of [0, 2, 6]) {
    for (const cdb of forms(VERIFY, options, 0)) t.match(initiator.send(cdb), { status: 0, overrun: false })
    t.equal(
      initiator.send(Uint8Array.of(VERIFY, options, 0, 0, 7, 0xff, 0, 0, 2, 0)).senseCode,
      SENSE.LOGICAL_BLOCK_ADDRESS_OUT_OF_RANGE,
    )
  }
  for (const cdb of forms(VERIFY, 0x20, 1)) t.equal(initiator.send(cdb).senseCode, SENSE.INVALID_FIELD_IN_CDB)
  t.same(medium.log, [])
})

t.test('VERIFY of a read-only unit is no write', async (t) => {
  const { initiator } = fixture({ readOnly: true })
  for (const cdb of forms(VERIFY, 0, 1)) t.equal(initiator.send(cdb).status, 0)
})

t.test('WRITE AND VERIFY writes, durably, and then reads or compares', async (t) => {
  for (const [options, action] of [
    [0x10, ACTION.VERIFY],
    [0x02, ACTION.COMPARE],
  ] as const) {
    for (const cdb of forms(WRITE_AND_VERIFY, options, 2)) {
      const { initiator, medium } = fixture()
      const data = new Uint8Array(1024).fill(9)
      t.match(initiator.send(cdb, { out: data }), { status: 0, residual: 0 })
      t.same(medium.bytes.subarray(2560, 2560 + 1024), data)
      t.same(medium.log, [
        [ACTION.WRITE, 2560, 1024, true],
        [action, 2560, 1024, true],
      ])
      medium.faults.set(ACTION.WRITE, ERRNO.EIO)
      t.equal(initiator.send(cdb, { out: data }).senseCode, SENSE.WRITE_ERROR)
      medium.faults.set(action, ERRNO.EIO)
      t.equal(initiator.send(cdb, { out: data }).senseCode, SENSE.UNRECOVERED_READ_ERROR)
      t.match(initiator.send(cdb, { out: data.subarray(1) }), { overrun: true })
    }
  }
})

t.test('WRITE AND VERIFY finds what the medium did not keep', async (t) => {
  const { nexus } = fixture()
  const [cdb] = forms(WRITE_AND_VERIFY, 0x02, 2)
  const { task } = fixture().initiator
  task.cdbBytes.set(cdb!)
  task.dataOutLength = 1024
  nexus.execute(task)
  const program = task.program!
  program.next(0)
  t.equal(task.action, ACTION.WRITE)
  program.next(1024)
  t.equal(task.action, ACTION.COMPARE)
  t.equal(program.next(513).done, true)
  t.equal(task.senseCode, SENSE.MISCOMPARE_DURING_VERIFY_OPERATION)
  t.equal(task.sense[6], 6)
})

t.test('WRITE AND VERIFY: no blocks, ranges, other bits', async (t) => {
  const { initiator, medium } = fixture()
  for (const cdb of forms(WRITE_AND_VERIFY, 0, 0)) t.equal(initiator.send(cdb).status, 0)
  for (const cdb of forms(WRITE_AND_VERIFY, 0x08, 1)) t.equal(initiator.send(cdb).senseCode, SENSE.INVALID_FIELD_IN_CDB)
  t.equal(
    initiator.send(Uint8Array.of(WRITE_AND_VERIFY, 0, 0, 0, 8, 0, 0, 0, 1, 0)).senseCode,
    SENSE.LOGICAL_BLOCK_ADDRESS_OUT_OF_RANGE,
  )
  t.same(medium.log, [])
})
