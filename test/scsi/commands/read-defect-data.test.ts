import t from 'tap'
import { SENSE } from '../../../scsi/sense.js'
import { fixture } from '../support/fixture.js'
import { hex, normal } from '../support/hex.js'

t.test('both lists are empty, in every format', async (t) => {
  const { initiator } = fixture()
  for (let list = 0; list < 0x20; list++) {
    const byte = hex(Uint8Array.of(list))
    t.equal(initiator.send(`37 00 ${byte} 00 00 00 00 00 20 00`).data, normal(`00 ${byte} 00 00`))
    t.equal(initiator.send(`b7 ${byte} 00*4 00 00 00 20 00 00`).data, normal(`00 ${byte} 00*6`))
  }
})

t.test('ALLOCATION LENGTH and reserved bits', async (t) => {
  const { initiator } = fixture()
  t.equal(initiator.send('37 00 18 00 00 00 00 00 02 00').data, normal('00 18'))
  t.equal(initiator.send('b7 18 00*4 00 00 00 05 00 00').data, normal('00 18 00*3'))
  t.equal(initiator.send('37 00 20 00 00 00 00 00 02 00').senseCode, SENSE.INVALID_FIELD_IN_CDB)
  t.equal(initiator.send('b7 20 00*4 00 00 00 05 00 00').senseCode, SENSE.INVALID_FIELD_IN_CDB)
})
