import t from 'tap'
import { Nexus } from '../../scsi/nexus.js'
import { SENSE } from '../../scsi/sense.js'
import { Target } from '../../scsi/target.js'
import { Task } from '../../scsi/task.js'
import { ATTENTION, raise } from '../../scsi/unit-attention.js'
import { attentionWord, fixture } from './support/fixture.js'
import { normal } from './support/hex.js'
import { Initiator } from './support/initiator.js'

t.test('LUNs are added, found and removed', async (t) => {
  const { unit } = fixture()
  const target = new Target(3)
  const nexuses = [0, 300, 16383].map((lun) => new Nexus(unit, 3, lun, attentionWord(), false))
  for (const nexus of nexuses) target.add(nexus)
  t.same(target.luns(), [0, 300, 16383])
  t.same(target.nexuses(), nexuses)
  t.equal(target.nexus(300), nexuses[1])
  t.equal(target.nexus(1), undefined)
  t.equal(target.nexus(16384), undefined)
  t.equal(nexuses[1]!.owner, target)
  target.remove(16383)
  target.remove(16383)
  target.remove(5)
  t.same(target.luns(), [0, 300])
  t.equal(nexuses[2]!.owner, null)
  target.remove(0)
  target.remove(300)
  t.same(target.luns(), [])
  target.add(nexuses[2]!)
  t.same(target.luns(), [16383])
})

t.test('LUNs that cannot be added', async (t) => {
  const { unit } = fixture()
  const target = new Target(0)
  target.add(new Nexus(unit, 0, 1, attentionWord(), false))
  for (const [id, lun] of [
    [0, 1],
    [0, -1],
    [0, 16384],
    [0, 1.5],
    [1, 2],
  ] as const) {
    t.throws(() => target.add(new Nexus(unit, id, lun, attentionWord(), false)), RangeError)
  }
  t.same(target.luns(), [1])
})

t.test('a command goes to its logical unit, and else to who stands in for it', async (t) => {
  const { target, initiator, medium } = fixture()
  t.equal(initiator.send('00*6').status, 0)
  for (const lun of [1, 255, 16383]) {
    const absent = new Initiator((task) => target.execute(lun, task), medium)
    t.equal(absent.send('00*6').senseCode, SENSE.LOGICAL_UNIT_NOT_SUPPORTED)
    t.equal(absent.send('28 00 00 00 00 00 00 00 01 00').senseCode, SENSE.LOGICAL_UNIT_NOT_SUPPORTED)
  }
  t.same(medium.log, [])
  const wellKnown = new Initiator((task) => target.execute(0xc101, task), medium)
  t.equal(wellKnown.send('00*6').status, 0)
  t.equal(wellKnown.send('28 00 00 00 00 00 00 00 01 00').senseCode, SENSE.INVALID_COMMAND_OPERATION_CODE)
  const strange = new Task()
  for (const lun of [0xc102, -1, 2 ** 32]) {
    target.execute(lun, strange)
    t.equal(strange.senseCode, SENSE.LOGICAL_UNIT_NOT_SUPPORTED)
  }
})

t.test('REPORT LUNS settles what every nexus has to say of the inventory', async (t) => {
  const { target, unit, nexus, initiator } = fixture()
  const other = new Nexus(unit, 0, 5, attentionWord(), false)
  target.add(other)
  for (const each of target.nexuses()) {
    raise(each.attention, ATTENTION.REPORTED_LUNS_CHANGED)
    raise(each.attention, ATTENTION.CAPACITY_CHANGED)
  }
  t.equal(initiator.send('a0 00*5 00 00 00 08 00 00').data, normal('00 00 00 10 00*4'))
  t.equal(nexus.attention[0], ATTENTION.CAPACITY_CHANGED)
  t.equal(other.attention[0], ATTENTION.CAPACITY_CHANGED)
})
