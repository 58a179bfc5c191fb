import t from 'tap'
import { mostAtomic } from '../../../scsi/block-limits.js'
import { SENSE } from '../../../scsi/sense.js'
import { ACTION } from '../../../scsi/task.js'
import { BLOCKS, fixture } from '../support/fixture.js'
import { normal } from '../support/hex.js'

/** WRITE ATOMIC(16) of `blocks` blocks at `lba`. */
const cdb = (lba: number, blocks: number, options = 0, boundary = 0): Uint8Array =>
  Uint8Array.of(0x9c, options, 0, 0, 0, 0, 0, 0, lba >>> 8, lba, 0, boundary, blocks >>> 8, blocks, 0, 0)

t.test('writes', async (t) => {
  const { initiator, medium } = fixture()
  const out = new Uint8Array(1024).fill(3)
  t.match(initiator.send(cdb(1, 2), { out }), { status: 0, residual: 0, overrun: false })
  t.match(initiator.send(cdb(1, 2, 0x18), { out }), { status: 0 })
  t.same(medium.log, [
    [ACTION.WRITE_ATOMIC, 512, 1024, false],
    [ACTION.WRITE_ATOMIC, 512, 1024, true],
  ])
  t.equal(medium.bytes.filter((byte) => byte === 3).length, 1024)
})

t.test('no blocks, the end of the medium, too little data, WRPROTECT, an ATOMIC BOUNDARY', async (t) => {
  const { initiator, medium } = fixture()
  t.match(initiator.send(cdb(BLOCKS, 0)), { status: 0, overrun: false })
  t.equal(initiator.send(cdb(BLOCKS, 1), { out: '00*512' }).senseCode, SENSE.LOGICAL_BLOCK_ADDRESS_OUT_OF_RANGE)
  t.match(initiator.send(cdb(0, 2), { out: '00*1023' }), { overrun: true })
  t.equal(initiator.send(cdb(0, 1, 0xe0), { out: '00*512' }).senseCode, SENSE.INVALID_FIELD_IN_CDB)
  t.equal(initiator.send(cdb(0, 1, 0, 1), { out: '00*512' }).senseCode, SENSE.INVALID_FIELD_IN_CDB)
  t.same(medium.log, [])
})

t.test('as many blocks as Block Limits says, and no more', async (t) => {
  for (const blockSize of [512, 4096]) {
    const most = mostAtomic(blockSize)
    const { initiator, unit, medium } = fixture({ blockSize, physicalBlockSize: 4096 }, { capacity: most + 1 })
    const page = unit.vpdPages.get(0xb0)!
    const view = new DataView(page.buffer, page.byteOffset)
    t.equal(view.getUint32(44), most, 'MAXIMUM ATOMIC TRANSFER LENGTH')
    t.ok(view.getUint32(8) >= most, 'MAXIMUM TRANSFER LENGTH')
    t.match(initiator.send(cdb(0, most), { out: new Uint8Array(most * blockSize) }), { status: 0 })
    const reply = initiator.send(cdb(0, most + 1), { out: new Uint8Array((most + 1) * blockSize) })
    t.equal(reply.sense, normal('70 00 05 00*4 0a 00*4 24 00 00 cf 00 0c'))
    t.equal(medium.log.length, 1)
  }
})

t.test('is not there where the medium cannot do it, and nothing tells of it', async (t) => {
  for (const discard of [false, true]) {
    const { initiator, unit } = fixture({ atomicWrites: false, discard })
    t.equal(initiator.send(cdb(0, 1), { out: '00*512' }).senseCode, SENSE.INVALID_COMMAND_OPERATION_CODE)
    t.notOk(unit.commands.commands.some(({ opcode }) => opcode === 0x9c))
    t.ok(
      unit.vpdPages
        .get(0xb0)!
        .subarray(44)
        .every((byte) => byte === 0),
    )
    t.equal(unit.commands.find(Uint8Array.of(0x42)).supported, discard)
  }
})
