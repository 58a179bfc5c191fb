import t from 'tap'
import { fixture } from '../support/fixture.js'
import { normal } from '../support/hex.js'

const PARAMETERS = normal(`
  00 00 00 2a 01 00 00 00 00 10 00 10 00 00 03 c0 10 00 00 00 00 00 00 00
  00*8 00 00 00 ff ff 09 00 00 00 00 00 02 02 e4`)

t.test('operating parameters', async (t) => {
  const { initiator } = fixture()
  t.match(initiator.send('84 03 00*8 00 00 10 00 00 00'), { status: 0, data: PARAMETERS })
  t.equal(initiator.send('84 03 00*8 00 00 00 04 00 00').data, PARAMETERS.slice(0, 11), 'the length is that of all')
  t.match(initiator.send('84 02 00*8 00 00 10 00 00 00'), { status: 2 }, 'another service action')
})
