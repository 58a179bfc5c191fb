import t from 'tap'
import { ERRNO } from '../../../scsi/errno.js'
import { SENSE } from '../../../scsi/sense.js'
import { ACTION } from '../../../scsi/task.js'
import { fixture } from '../support/fixture.js'

t.test('everything is flushed, whatever the range, IMMED and SYNC_NV', async (t) => {
  const { initiator, medium } = fixture()
  const cdbs = [
    '35 00*9',
    '35 06 00 00 00 05 00 00 08 00',
    '35 00 00 00 08 00 00 00 00 00',
    '91 00*15',
    '91 02 00 00 00 00 00 00 07 f8 00 00 00 08 00 00',
  ]
  for (const cdb of cdbs) t.match(initiator.send(cdb), { status: 0, overrun: false }, cdb)
  t.same(
    medium.log.map(([action]) => action),
    cdbs.map(() => ACTION.FLUSH),
  )
})

t.test('a range beyond the end is none', async (t) => {
  const { initiator, medium } = fixture()
  for (const cdb of [
    '35 00 00 00 08 01 00 00 00 00',
    '35 00 00 00 07 ff 00 00 02 00',
    '91 00 ff*8 00 00 00 01 00 00',
    '91 00 00 00 00 00 00 00 07 ff 00 00 00 02 00 00',
  ]) {
    t.equal(initiator.send(cdb).senseCode, SENSE.LOGICAL_BLOCK_ADDRESS_OUT_OF_RANGE, cdb)
  }
  t.same(medium.log, [])
})

t.test('a flush that fails', async (t) => {
  const { initiator, medium } = fixture()
  medium.faults.set(ACTION.FLUSH, ERRNO.EIO)
  t.equal(initiator.send('35 00*9').senseCode, SENSE.WRITE_ERROR)
})

t.test('a read-only unit can be flushed', async (t) => {
  t.equal(fixture({ readOnly: true }).initiator.send('35 00*9').status, 0)
})
