import t from 'tap'
import { SENSE } from '../../../scsi/sense.js'
import { fixture } from '../support/fixture.js'
import { normal } from '../support/hex.js'

const TEN = '25 00*9'
const SIXTEEN = '9e 10 00*8 00 00 00 20 00 00'

t.test('READ CAPACITY(10)', async (t) => {
  t.equal(fixture().initiator.send(TEN).data, normal('00 00 07 ff 00 00 02 00'))
  t.equal(fixture({}, { capacity: 2 ** 32 - 1 }).initiator.send(TEN).data, normal('ff ff ff fe 00 00 02 00'))
  t.equal(fixture({}, { capacity: 2 ** 32 }).initiator.send(TEN).data, normal('ff ff ff ff 00 00 02 00'))
  t.equal(fixture({}, { capacity: 2 ** 40 }).initiator.send(TEN).data, normal('ff ff ff ff 00 00 02 00'))
})

t.test('READ CAPACITY(16)', async (t) => {
  t.equal(fixture().initiator.send(SIXTEEN).data, normal('00*6 07 ff 00 00 02 00 00 03 c0 00*17'))
  const { initiator } = fixture({ blockSize: 4096, discard: false }, { capacity: 2 ** 40 + 2 })
  t.equal(initiator.send(SIXTEEN).data, normal('00 00 01 00 00 00 00 01 00 00 10 00 00 00 00 00*17'))
})

t.test('ALLOCATION LENGTH of READ CAPACITY(16)', async (t) => {
  const { initiator } = fixture()
  for (let length = 0; length <= 32; length++) {
    const reply = initiator.send(Uint8Array.of(0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, length, 0, 0))
    t.match(reply, { status: 0, residual: 65536 - length })
  }
})

t.test('the obsolete LOGICAL BLOCK ADDRESS goes with PMI only', async (t) => {
  const { initiator } = fixture()
  t.equal(initiator.send('25 00 00 00 00 05 00 00 00 00').senseCode, SENSE.INVALID_FIELD_IN_CDB)
  t.equal(initiator.send('25 00 00 00 00 05 00 00 01 00').data, normal('00 00 07 ff 00 00 02 00'))
  t.equal(initiator.send('9e 10 00*7 05 00 00 00 20 00 00').senseCode, SENSE.INVALID_FIELD_IN_CDB)
  t.match(initiator.send('9e 10 00*7 05 00 00 00 20 01 00').data, /^00 00 00 00 00 00 07 ff/)
})

t.test('a medium without blocks is none', async (t) => {
  const { initiator } = fixture({}, { capacity: 0 })
  t.equal(initiator.send(TEN).senseCode, SENSE.MEDIUM_NOT_PRESENT)
  t.equal(initiator.send(SIXTEEN).senseCode, SENSE.MEDIUM_NOT_PRESENT)
})

t.test('a capacity that changes is told at once', async (t) => {
  const { initiator, state } = fixture()
  state.capacity = 4096
  t.equal(initiator.send(TEN).data, normal('00 00 0f ff 00 00 02 00'))
})

t.test('service actions that are not there', async (t) => {
  t.equal(fixture().initiator.send('9e 13 00*14').senseCode, SENSE.INVALID_COMMAND_OPERATION_CODE)
})
