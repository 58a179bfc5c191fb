import t from 'tap'
import { ATTENTION, raise } from '../../../scsi/unit-attention.js'
import { FLAG } from '../../../scsi/unit-state.js'
import { fixture } from '../support/fixture.js'
import { normal } from '../support/hex.js'

t.test('nothing to report', async (t) => {
  const { initiator } = fixture()
  t.equal(initiator.send('03 00 00 00 12 00').data, normal('70 00*6 0a 00*10'))
  t.equal(initiator.send('03 01 00 00 fc 00').data, normal('72 00*7'))
  t.equal(initiator.send('03 00 00 00 04 00').data, normal('70 00 00 00'))
  t.equal(initiator.send('03 00 00 00 00 00').status, 0)
})

t.test('a unit attention, once', async (t) => {
  const { initiator, nexus } = fixture()
  raise(nexus.attention, ATTENTION.POWER_ON)
  t.match(initiator.send('03 00 00 00 12 00'), { status: 0, data: normal('70 00 06 00*4 0a 00*4 29 00 00*4') })
  t.equal(initiator.send('03 00 00 00 12 00').data, normal('70 00*6 0a 00*10'))
  t.equal(initiator.send('00*6').status, 0)
  raise(nexus.attention, ATTENTION.CAPACITY_CHANGED)
  t.equal(initiator.send('03 01 00 00 12 00').data, normal('72 06 2a 09 00*4'))
})

t.test('why the unit is not ready', async (t) => {
  const { initiator, state } = fixture()
  state.set(FLAG.NOT_READY)
  t.equal(initiator.send('03 01 00 00 12 00').data, normal('72 02 04 00 00*4'))
  state.set(FLAG.EJECTED)
  t.equal(initiator.send('03 01 00 00 12 00').data, normal('72 02 3a 00 00*4'))
})

t.test('DESC alone decides the format, not D_SENSE', async (t) => {
  const { initiator, state } = fixture()
  state.set(FLAG.DESCRIPTOR_SENSE)
  t.match(initiator.send('03 00 00 00 12 00').data, /^70 /)
})
