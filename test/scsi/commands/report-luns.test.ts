import t from 'tap'
import { Nexus } from '../../../scsi/nexus.js'
import { SENSE } from '../../../scsi/sense.js'
import { ATTENTION, raise } from '../../../scsi/unit-attention.js'
import { attentionWord, fixture } from '../support/fixture.js'
import { normal } from '../support/hex.js'
import { Initiator } from '../support/initiator.js'

t.test('every SELECT REPORT', async (t) => {
  const { initiator, target, unit } = fixture()
  target.add(new Nexus(unit, 0, 300, attentionWord(), false))
  for (const [select, list] of [
    [0, '00 00 00 10 00*4 00*8 41 2c 00*6'],
    [1, '00 00 00 08 00*4 c1 01 00*6'],
    [2, '00 00 00 18 00*4 00*8 41 2c 00*6 c1 01 00*6'],
    [0x10, '00*8'],
    [0x11, '00 00 00 10 00*4 00*8 41 2c 00*6'],
    [0x12, '00*8'],
  ] as const) {
    t.equal(initiator.send(Uint8Array.of(0xa0, 0, select, 0, 0, 0, 0, 0, 0x10, 0, 0, 0)).data, normal(list))
  }
  for (const select of [3, 0x0f, 0x13, 0xff]) {
    const { sense } = initiator.send(Uint8Array.of(0xa0, 0, select, 0, 0, 0, 0, 0, 0x10, 0, 0, 0))
    t.equal(sense, normal('70 00 05 00*4 0a 00*4 24 00 00 cf 00 02'))
  }
})

t.test('ALLOCATION LENGTH has 32 bits, and may be short', async (t) => {
  const { initiator } = fixture()
  t.equal(initiator.send('a0 00*5 00 00 00 00 00 00').data, '')
  t.equal(initiator.send('a0 00*5 00 00 00 09 00 00').data, normal('00 00 00 08 00*4 00'))
  t.match(initiator.send('a0 00*5 ff ff ff ff 00 00'), { data: normal('00 00 00 08 00*4 00*8'), overrun: false })
})

t.test('all LUNs that a target can have', async (t) => {
  const { initiator, target, unit } = fixture()
  for (let lun = 1; lun <= 16383; lun++) target.add(new Nexus(unit, 0, lun, attentionWord(), false))
  const reply = initiator.send('a0 00*5 00 10 00 00 00 00', { in: 1 << 20 })
  t.equal(reply.dataIn.length, 8 + 8 * 16384)
  t.equal(reply.dataIn[3]! + 256 * reply.dataIn[2]! + 65536 * reply.dataIn[1]!, 8 * 16384)
})

t.test('a failed REPORT LUNS settles nothing', async (t) => {
  const { initiator, nexus } = fixture()
  raise(nexus.attention, ATTENTION.REPORTED_LUNS_CHANGED)
  initiator.send('a0 00 77 00*3 00 00 00 10 00 00')
  t.equal(nexus.attention[0], ATTENTION.REPORTED_LUNS_CHANGED)
  t.equal(initiator.send('00*6').senseCode, SENSE.REPORTED_LUNS_DATA_HAS_CHANGED)
})

t.test('a nexus that is in no target knows its own LUN', async (t) => {
  const { unit, medium } = fixture()
  const nexus = new Nexus(unit, 0, 7, attentionWord(), false)
  const initiator = new Initiator((task) => nexus.execute(task), medium)
  t.equal(initiator.send('a0 00*5 00 00 00 10 00 00').data, normal('00 00 00 08 00*4 00 07 00*6'))
})
