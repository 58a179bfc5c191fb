import t from 'tap'
import { ERRNO } from '../../../scsi/errno.js'
import { SENSE } from '../../../scsi/sense.js'
import { ACTION } from '../../../scsi/task.js'
import { FLAG } from '../../../scsi/unit-state.js'
import { BLOCKS, fixture } from '../support/fixture.js'

/** ORWRITE(16) of `blocks` blocks at `lba`. */
const cdb = (lba: number, blocks: number, options = 0): Uint8Array =>
  Uint8Array.of(0x8b, options, 0, 0, 0, 0, 0, 0, lba >>> 8, lba, 0, 0, blocks >>> 8, blocks, 0, 0)

t.test('sets bits', async (t) => {
  const { initiator, medium } = fixture()
  medium.bytes.fill(0x11, 512, 1536)
  const out = new Uint8Array(1024).fill(0x30, 0, 600)
  t.match(initiator.send(cdb(1, 2), { out }), { status: 0, residual: 0, overrun: false })
  t.same(medium.log, [[ACTION.OR_WRITE, 512, 1024, false]])
  t.ok(medium.bytes.subarray(512, 1112).every((byte) => byte === 0x31))
  t.ok(medium.bytes.subarray(1112, 1536).every((byte) => byte === 0x11))
})

t.test('FUA, and every write without a write cache, is durable', async (t) => {
  const { initiator, medium, state } = fixture()
  const out = new Uint8Array(512)
  initiator.send(cdb(0, 1, 0x18), { out })
  initiator.send(cdb(0, 1, 0x10), { out })
  state.clear(FLAG.WRITE_CACHE)
  initiator.send(cdb(0, 1), { out })
  t.same(
    medium.log.map((each) => each[3]),
    [true, false, true],
  )
})

t.test('no blocks, the end of the medium, too little data, WRPROTECT, read-only', async (t) => {
  const { initiator, medium } = fixture()
  t.match(initiator.send(cdb(BLOCKS, 0)), { status: 0, overrun: false })
  t.equal(initiator.send(cdb(BLOCKS, 1), { out: '00*512' }).senseCode, SENSE.LOGICAL_BLOCK_ADDRESS_OUT_OF_RANGE)
  t.match(initiator.send(cdb(0, 2), { out: '00*1023' }), { overrun: true })
  t.equal(initiator.send(cdb(0, 1, 0xe0), { out: '00*512' }).senseCode, SENSE.INVALID_FIELD_IN_CDB)
  t.same(medium.log, [])
  const readOnly = fixture({ readOnly: true })
  t.equal(readOnly.initiator.send(cdb(0, 1), { out: '00*512' }).senseCode, SENSE.WRITE_PROTECTED)
  medium.faults.set(ACTION.OR_WRITE, ERRNO.ENOSPC)
  t.equal(initiator.send(cdb(0, 1), { out: '00*512' }).senseCode, SENSE.SPACE_ALLOCATION_FAILED_WRITE_PROTECT)
  t.equal(fixture().unit.commands.find(cdb(0, 1)).repeatable, false)
})
