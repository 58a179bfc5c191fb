import t from 'tap'
import { ERRNO } from '../../../scsi/errno.js'
import { SENSE } from '../../../scsi/sense.js'
import { ACTION } from '../../../scsi/task.js'
import { fixture } from '../support/fixture.js'
import { normal } from '../support/hex.js'

t.test('SEND DIAGNOSTIC: the self-test reads a block', async (t) => {
  const { initiator, medium } = fixture()
  t.equal(initiator.send('1d 04 00 00 00 00').status, 0)
  t.equal(initiator.send('1d 10 00 00 00 00').status, 0)
  t.same(medium.log, [[ACTION.VERIFY, 0, 512, false]])
  medium.faults.set(ACTION.VERIFY, ERRNO.EIO)
  t.equal(initiator.send('1d 04 00 00 00 00').senseCode, SENSE.UNRECOVERED_READ_ERROR)
  t.equal(initiator.send('1d 20 00 00 00 00').senseCode, SENSE.INVALID_FIELD_IN_CDB, 'SELF-TEST CODE')
  const empty = fixture({}, { capacity: 0 })
  t.equal(empty.initiator.send('1d 04 00 00 00 00').status, 0)
  t.same(empty.medium.log, [])
})

t.test('SEND DIAGNOSTIC: a page', async (t) => {
  const { initiator, medium } = fixture()
  t.match(initiator.send('1d 10 00 00 04 00', { out: '00*4' }), { status: 0, residual: 0 })
  t.equal(initiator.send('1d 10 00 00 04 00', { out: '00*3' }).overrun, true)
  for (const [cdb, out, sense] of [
    // A self-test takes no parameters, the vendor defines none.
    ['1d 14 00 00 04 00', '00*4', '24 00 00 cf 00 03'],
    ['1d 00 00 00 04 00', '00*4', '24 00 00 cf 00 03'],
    ['1d 10 00 00 08 00', '00*8', '24 00 00 cf 00 03'],
    ['1d 10 00 00 04 00', '40 00 00 00', '26 00 00 8f 00 00'],
    ['1d 10 00 00 04 00', '00 00 01 00', '26 00 00 8f 00 02'],
    ['1d 10 00 00 04 00', '00 00 00 01', '26 00 00 8f 00 02'],
    ['1d 10 00 00 03 00', '00*3', '1a 00 00*4'],
  ] as const) {
    t.equal(initiator.send(cdb, { out }).sense, normal(`70 00 05 00*4 0a 00*4 ${sense}`), cdb)
  }
  t.same(medium.log, [])
})

t.test('RECEIVE DIAGNOSTIC RESULTS: the one page there is', async (t) => {
  const { initiator } = fixture()
  const page = '00 00 00 01 00'
  for (const cdb of ['1c 00 00 00 ff 00', '1c 01 00 00 ff 00', '1c 00 40 00 ff 00']) {
    t.equal(initiator.send(cdb).data, page)
  }
  t.equal(initiator.send('1c 01 00 00 03 00').data, '00 00 00')
  t.equal(initiator.send('1c 01 40 00 ff 00').sense, normal('70 00 05 00*4 0a 00*4 24 00 00 cf 00 02'))
})
