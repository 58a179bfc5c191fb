import t from 'tap'
import { fixture } from '../support/fixture.js'
import { normal } from '../support/hex.js'

t.test('a reset of all parameters, and nothing to set', async (t) => {
  const { initiator } = fixture()
  for (const cdb of ['4c 02 40 00 00 00 00 00 00 00', '4c 02 00 00*6 00', '4c 00 c0 00*6 00', '4c 02 4d 00*6 00']) {
    t.match(initiator.send(cdb), { status: 0, data: '' }, cdb)
  }
})

t.test('one page is not set, and nothing is saved', async (t) => {
  const { initiator } = fixture()
  for (const [cdb, pointer] of [
    ['4c 00 4d 00 00 00 00 00 00 00', 'cd 00 02'],
    ['4c 00 40 01 00 00 00 00 00 00', 'cf 00 03'],
    ['4c 01 40 00 00 00 00 00 00 00', 'c8 00 01'],
    ['4c 00 40 00 00 00 00 00 04 00', 'ca 00 08'],
  ] as const) {
    t.equal(initiator.send(cdb).sense, normal(`70 00 05 00*4 0a 00*4 24 00 00 ${pointer}`), cdb)
  }
})
