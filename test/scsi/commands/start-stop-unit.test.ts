import t from 'tap'
import { ERRNO } from '../../../scsi/errno.js'
import { SENSE } from '../../../scsi/sense.js'
import { ACTION } from '../../../scsi/task.js'
import { nexusReset } from '../../../scsi/task-management.js'
import { take } from '../../../scsi/unit-attention.js'
import { FLAG } from '../../../scsi/unit-state.js'
import { fixture } from '../support/fixture.js'
import { normal } from '../support/hex.js'

const TEST_UNIT_READY = '00*6'
const [PREVENT, ALLOW] = ['1e 00 00 00 01 00', '1e 00 00 00 00 00']
const startStop = (byte4: number, immed = 0): Uint8Array => Uint8Array.of(0x1b, immed, 0, 0, byte4, 0)
const [STOP, START, EJECT, LOAD, NO_FLUSH] = [0, 1, 2, 3, 4] as const

t.test('stopping flushes unless told not to, and the unit stays ready', async (t) => {
  const { initiator, medium } = fixture()
  for (const cdb of [startStop(STOP), startStop(STOP, 1)]) t.equal(initiator.send(cdb).status, 0)
  t.equal(medium.log.length, 2)
  for (const cdb of [startStop(NO_FLUSH), startStop(START), startStop(START | NO_FLUSH)]) {
    t.equal(initiator.send(cdb).status, 0)
  }
  t.equal(medium.log.length, 2)
  t.ok(medium.log.every(([action]) => action === ACTION.FLUSH))
  t.equal(initiator.send(TEST_UNIT_READY).status, 0)
  medium.faults.set(ACTION.FLUSH, ERRNO.EIO)
  t.equal(initiator.send(startStop(STOP)).senseCode, SENSE.WRITE_ERROR)
})

t.test('power conditions change nothing, and LOEJ does not count with them', async (t) => {
  const { initiator, state, medium } = fixture({ removable: true })
  for (let condition = 1; condition < 16; condition++) {
    for (const operation of [STOP, EJECT]) {
      t.equal(initiator.send(startStop((condition << 4) | operation)).status, 0)
      t.equal(initiator.send(TEST_UNIT_READY).status, 0)
    }
  }
  t.equal(state.flags & FLAG.EJECTED, 0)
  t.same(medium.log, [])
})

t.test('a medium that cannot be removed is not ejected', async (t) => {
  const { initiator } = fixture()
  for (const cdb of [startStop(EJECT), startStop(LOAD)]) {
    t.equal(initiator.send(cdb).sense, normal('70 00 05 00*4 0a 00*4 24 00 00 c9 00 04'))
  }
})

t.test('eject and load', async (t) => {
  const { initiator, medium } = fixture({ removable: true })
  t.equal(initiator.send(startStop(EJECT)).status, 0)
  t.same(
    initiator.effects.splice(0).map(({ type }) => type),
    ['fence', 'flush'],
  )
  t.equal(medium.log.length, 1)
  t.equal(initiator.send(TEST_UNIT_READY).senseCode, SENSE.MEDIUM_NOT_PRESENT)
  t.equal(initiator.send('25 00*9').senseCode, SENSE.MEDIUM_NOT_PRESENT)
  t.equal(initiator.send('12 00 00 00 24 00').status, 0)
  t.equal(initiator.send('03 00 00 00 12 00').data, normal('70 00 02 00*4 0a 00*4 3a 00 00*4'))
  t.equal(initiator.send(startStop(EJECT)).status, 0, 'once more')
  t.equal(initiator.send(startStop(STOP)).status, 0)
  t.equal(medium.log.length, 1)
  t.equal(initiator.send(startStop(LOAD)).status, 0)
  t.equal(initiator.send(TEST_UNIT_READY).status, 0, 'who has loaded it knows')
  t.equal(initiator.send(startStop(LOAD)).status, 0, 'once more')
  t.same(
    initiator.effects.splice(0).map(({ type }) => type),
    ['announce'],
  )
  t.equal(initiator.send(startStop(EJECT | NO_FLUSH)).status, 0)
  t.equal(medium.log.length, 1)
  t.equal(initiator.send(TEST_UNIT_READY).senseCode, SENSE.MEDIUM_NOT_PRESENT)
})

t.test('others see the medium go, and are told when it comes', async (t) => {
  const { initiator, nexus, join } = fixture({ removable: true })
  const other = join('other')
  t.equal(initiator.send(startStop(EJECT)).status, 0)
  t.equal(other.initiator.send(TEST_UNIT_READY).senseCode, SENSE.MEDIUM_NOT_PRESENT)
  t.equal(initiator.send(startStop(LOAD)).status, 0)
  t.same(initiator.effects.at(-1), {
    type: 'announce',
    nexuses: [other.unitNexus],
    attention: SENSE.NOT_READY_TO_READY_CHANGE,
  })
  t.equal(other.initiator.send(TEST_UNIT_READY).senseCode, SENSE.NOT_READY_TO_READY_CHANGE)
  t.equal(other.initiator.send(TEST_UNIT_READY).status, 0)
  t.equal(take(nexus.attention), 0)
})

t.test('a medium that cannot be flushed stays', async (t) => {
  const { initiator, medium } = fixture({ removable: true })
  medium.faults.set(ACTION.FLUSH, ERRNO.EIO)
  t.equal(initiator.send(startStop(EJECT)).senseCode, SENSE.WRITE_ERROR)
  t.equal(initiator.send(TEST_UNIT_READY).status, 0)
})

t.test('whoever prevents it, the medium stays where it is', async (t) => {
  const { initiator, state, medium, join, leave } = fixture({ removable: true })
  const other = join('other')
  const prevented = normal('70 00 05 00*4 0a 00*4 53 02 00*4')
  for (const each of [initiator, other.initiator]) {
    t.equal(each.send(PREVENT).status, 0)
    t.equal(initiator.send(startStop(EJECT)).sense, prevented)
    t.equal(initiator.send(startStop(LOAD)).sense, prevented)
    t.equal(initiator.send(TEST_UNIT_READY).status, 0)
    t.equal(each.send(ALLOW).status, 0)
  }
  t.same(medium.log, [])
  // It ends with the nexus as well.
  other.initiator.send(PREVENT)
  nexusReset([other.unitNexus])
  t.equal(initiator.send(startStop(EJECT)).status, 0)
  t.equal(take(other.nexus.attention), SENSE.I_T_NEXUS_LOSS_OCCURRED)
  other.initiator.send(PREVENT)
  t.equal(initiator.send(startStop(LOAD)).sense, prevented)
  leave(other.unitNexus)
  t.equal(initiator.send(startStop(LOAD)).status, 0)
  t.equal(state.flags & FLAG.EJECTED, 0)
})
