import t from 'tap'
import { SENSE } from '../../../scsi/sense.js'
import { fixture } from '../support/fixture.js'

t.test('TEST UNIT READY, with the obsolete LUN field set too', async (t) => {
  const { initiator } = fixture()
  t.match(initiator.send('00*6'), { status: 0, data: '' })
  t.equal(initiator.send('00 e0 00 00 00 00').status, 0)
  t.equal(initiator.send('00 01 00 00 00 00').senseCode, SENSE.INVALID_FIELD_IN_CDB)
})
