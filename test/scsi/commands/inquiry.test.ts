import t from 'tap'
import { SENSE } from '../../../scsi/sense.js'
import { fixture } from '../support/fixture.js'
import { ascii, normal } from '../support/hex.js'

const { initiator } = fixture()

t.test('standard data, cut at ALLOCATION LENGTH', async (t) => {
  const full = initiator.send('12 00 00 01 00 00').data
  t.match(full, normal(`00 00 06 12 5b 18 00 02 ${ascii('VENDOR', 8)}`))
  t.equal(full.split(' ').length, 96)
  for (let length = 0; length <= 96; length++) {
    const reply = initiator.send(Uint8Array.of(0x12, 0, 0, 0, length, 0), { in: 96 })
    t.equal(reply.data, full.split(' ').slice(0, length).join(' '))
    t.equal(reply.residual, 96 - length)
  }
})

t.test('vital product data', async (t) => {
  t.equal(initiator.send('12 01 00 00 ff 00').data, normal('00 00 00 09 00 80 83 86 87 8f b0 b1 b2'))
  t.equal(initiator.send('12 01 80 00 06 00').data, normal('00 80 00 08 53 45'))
  t.equal(initiator.send('12 01 b2 00 ff 00').data, normal('00 b2 00 04 00 e4 02 00'))
  const b0 = initiator.send('12 01 b0 00 40 00', { in: 64 })
  t.match(b0.data, /^00 b0 00 3c 01 /)
  t.equal(b0.residual, 0)
})

t.test('pages that are not there, and a page code without EVPD', async (t) => {
  for (const cdb of ['12 01 b7 00 ff 00', '12 01 01 00 ff 00', '12 00 83 00 ff 00']) {
    t.match(initiator.send(cdb), { senseCode: SENSE.INVALID_FIELD_IN_CDB, residual: 65536 })
  }
  t.equal(initiator.send('12 01 01 00 ff 00').sense, normal('70 00 05 00*4 0a 00*4 24 00 00 cf 00 02'))
})

t.test('the obsolete LUN field is no fault, the obsolete CMDDT is', async (t) => {
  t.equal(initiator.send('12 20 00 00 24 00').status, 0)
  t.equal(initiator.send('12 02 00 00 24 00').senseCode, SENSE.INVALID_FIELD_IN_CDB)
})

t.test('a buffer shorter than the data is an overrun', async (t) => {
  t.match(initiator.send('12 00 00 00 60 00', { in: 95 }), { overrun: true })
  t.match(initiator.send('12 00 00 00 60 00', { in: 96 }), { overrun: false, residual: 0 })
})
