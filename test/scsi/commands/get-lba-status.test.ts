import t from 'tap'
import { ERRNO } from '../../../scsi/errno.js'
import { SENSE } from '../../../scsi/sense.js'
import { ACTION } from '../../../scsi/task.js'
import { fixture } from '../support/fixture.js'
import { normal } from '../support/hex.js'

const cdb = (lba: number, allocationLength: number): Uint8Array =>
  Uint8Array.of(0x9e, 0x12, 0, 0, 0, 0, 0, 0, lba >>> 8, lba, 0, 0, allocationLength >>> 8, allocationLength, 0, 0)

/** A thin disk of 2048 blocks with blocks 8 to 15 and 20 written. */
function written() {
  const all = fixture()
  all.medium.bytes.fill(1, 8 * 512, 16 * 512)
  all.medium.bytes.fill(1, 20 * 512, 21 * 512)
  return all
}

const EXTENTS = [
  '00*8 00 00 00 08 01 00*3',
  '00*7 08 00 00 00 08 00 00*3',
  '00*7 10 00 00 00 04 01 00*3',
  '00*7 14 00 00 00 01 00 00*3',
  '00*7 15 00 00 07 eb 01 00*3',
]

t.test('what is mapped and what is not, as far as there is room', async (t) => {
  const { initiator } = written()
  t.equal(initiator.send(cdb(0, 4096)).data, normal(`00 00 00 54 00*4 ${EXTENTS.join(' ')}`))
  t.equal(initiator.send(cdb(0, 24)).data, normal(`00 00 00 14 00*4 ${EXTENTS[0]}`))
  t.equal(initiator.send(cdb(0, 55)).data, normal(`00 00 00 24 00*4 ${EXTENTS[0]} ${EXTENTS[1]}`))
  t.equal(initiator.send(cdb(12, 24)).data, normal('00 00 00 14 00*4 00*7 0c 00 00 00 04 00 00*3'))
  t.equal(initiator.send(cdb(2047, 24)).data, normal('00 00 00 14 00*4 00*6 07 ff 00 00 00 01 01 00*3'))
})

t.test('a short allocation length or buffer', async (t) => {
  const { initiator } = written()
  t.equal(initiator.send(cdb(0, 10)).data, normal('00 00 00 14 00*4 00 00'))
  t.match(initiator.send(cdb(0, 0)), { status: 0, data: '' })
  t.match(initiator.send(cdb(0, 4096), { in: 24 }), { status: 0, overrun: false, residual: 0 })
  t.match(initiator.send(cdb(0, 24), { in: 23 }), { overrun: true, data: '' })
})

t.test('no more than 64 extents', async (t) => {
  const { initiator, medium } = fixture()
  for (let lba = 0; lba < 400; lba += 2) medium.bytes.fill(1, lba * 512, (lba + 1) * 512)
  const { data } = initiator.send(cdb(0, 0xffff))
  t.equal(data.slice(0, 11), '00 00 04 04')
  t.equal(data.split(' ').length, 8 + 64 * 16)
})

t.test('a block that is unmapped in part is mapped', async (t) => {
  const { initiator, medium } = fixture({ blockSize: 4096 })
  medium.bytes.fill(1, 4096 + 512, 4096 + 1024)
  const expected = '00*8 00 00 00 01 01 00*3 00*7 01 00 00 00 01 00 00*3 00*7 02 00 00 07 fe 01 00*3'
  t.equal(initiator.send(cdb(0, 4096)).data, normal(`00 00 00 34 00*4 ${expected}`))
})

t.test('all of a fully provisioned disk is mapped', async (t) => {
  const { initiator, medium } = fixture({ discard: false })
  t.equal(initiator.send(cdb(5, 4096)).data, normal('00 00 00 14 00*4 00*7 05 00 00 07 fb 00 00*3'))
  t.match(initiator.send(cdb(5, 24), { in: 20 }), { overrun: true })
  t.same(medium.log, [])
})

t.test('more than a descriptor can tell', async (t) => {
  const { initiator, medium, state } = fixture()
  state.capacity = 2 ** 34
  t.equal(initiator.send(Uint8Array.of(0x9e, 0x12, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)).senseCode, 0x0b0006)
  t.same(medium.log, [[ACTION.FIND_HOLE, 3 * 2 ** 41, 0xffffffff * 512, false]])
})

t.test('errors', async (t) => {
  const { initiator, medium } = written()
  t.equal(initiator.send(cdb(2048, 24)).senseCode, SENSE.LOGICAL_BLOCK_ADDRESS_OUT_OF_RANGE)
  t.equal(initiator.send('9e 12 ff*8 00 00 00 18 00 00').senseCode, SENSE.LOGICAL_BLOCK_ADDRESS_OUT_OF_RANGE)
  medium.faults.set(ACTION.FIND_HOLE, ERRNO.EIO)
  t.equal(initiator.send(cdb(0, 24)).senseCode, SENSE.UNRECOVERED_READ_ERROR)
  medium.faults.set(ACTION.FIND_DATA, ERRNO.EIO)
  t.equal(initiator.send(cdb(8, 24)).senseCode, SENSE.UNRECOVERED_READ_ERROR)
})
