import t from 'tap'
import { fixture } from '../support/fixture.js'
import { normal } from '../support/hex.js'

const cdb = (format: number, length: number): Uint8Array =>
  Uint8Array.of(0xa3, (format << 5) | 0x0a, 0, 0, 0, 0, 0, 0, length >>> 8, length, 0, 0)

t.test('one group of all ports that the unit has', async (t) => {
  const { initiator, join, leave } = fixture()
  t.equal(initiator.send(cdb(0, 255)).data, normal('00 00 00 0c 00 01 00 01 00 00 00 01 00 00 00 01'))
  const { unitNexus } = join('other')
  const group = '00 01 00 01 00 00 00 02 00 00 00 01 00 00 00 02'
  t.equal(initiator.send(cdb(0, 255)).data, normal(`00 00 00 10 ${group}`))
  t.equal(initiator.send(cdb(1, 255)).data, normal(`00 00 00 14 10 00 00 00 ${group}`))
  t.equal(initiator.send(cdb(1, 9)).data, normal('00 00 00 14 10 00 00 00 00'))
  leave(unitNexus)
  t.equal(initiator.send(cdb(0, 255)).data, normal('00 00 00 0c 00 01 00 01 00 00 00 01 00 00 00 01'))
})

t.test('a format that is not there, and a buffer that is too short', async (t) => {
  const { initiator } = fixture()
  for (const format of [2, 7]) {
    t.equal(initiator.send(cdb(format, 255)).sense, normal('70 00 05 00*4 0a 00*4 24 00 00 cf 00 01'))
  }
  t.equal(initiator.send(cdb(0, 255), { in: 15 }).overrun, true)
})
