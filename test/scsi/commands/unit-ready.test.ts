import t from 'tap'
import { ERRNO } from '../../../scsi/errno.js'
import { SENSE } from '../../../scsi/sense.js'
import { ACTION } from '../../../scsi/task.js'
import { FLAG } from '../../../scsi/unit-state.js'
import { fixture } from '../support/fixture.js'
import { normal } from '../support/hex.js'

const TEST_UNIT_READY = '00*6'
const startStop = (byte4: number, immed = 0): Uint8Array => Uint8Array.of(0x1b, immed, 0, 0, byte4, 0)
const [STOP, START, EJECT, LOAD, NO_FLUSH] = [0, 1, 2, 3, 4] as const

t.test('TEST UNIT READY, with the obsolete LUN field set too', async (t) => {
  const { initiator } = fixture()
  t.match(initiator.send(TEST_UNIT_READY), { status: 0, data: '' })
  t.equal(initiator.send('00 e0 00 00 00 00').status, 0)
  t.equal(initiator.send('00 01 00 00 00 00').senseCode, SENSE.INVALID_FIELD_IN_CDB)
})

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
  const { initiator, state } = fixture({ removable: true })
  for (let condition = 1; condition < 16; condition++) {
    t.equal(initiator.send(startStop((condition << 4) | EJECT)).status, 0)
    t.equal(initiator.send(TEST_UNIT_READY).status, 0)
  }
  t.equal(state.flags & FLAG.EJECTED, 0)
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
  t.equal(medium.log.length, 1)
  t.equal(initiator.send(TEST_UNIT_READY).senseCode, SENSE.MEDIUM_NOT_PRESENT)
  t.equal(initiator.send(startStop(EJECT)).status, 0)
  t.equal(initiator.send(startStop(STOP)).status, 0)
  t.equal(medium.log.length, 1)
  t.equal(initiator.send(startStop(LOAD)).status, 0)
  t.equal(initiator.send(TEST_UNIT_READY).status, 0)
  t.equal(initiator.send(startStop(EJECT | NO_FLUSH)).status, 0)
  t.equal(medium.log.length, 1)
  t.equal(initiator.send(TEST_UNIT_READY).senseCode, SENSE.MEDIUM_NOT_PRESENT)
})

t.test('a medium that cannot be flushed stays', async (t) => {
  const { initiator, medium } = fixture({ removable: true })
  medium.faults.set(ACTION.FLUSH, ERRNO.EIO)
  t.equal(initiator.send(startStop(EJECT)).senseCode, SENSE.WRITE_ERROR)
  t.equal(initiator.send(TEST_UNIT_READY).status, 0)
})

t.test('PREVENT keeps the medium where it is', async (t) => {
  const { initiator, state } = fixture({ removable: true })
  t.equal(initiator.send('1e 00 00 00 01 00').status, 0)
  t.equal(initiator.send(startStop(EJECT)).senseCode, SENSE.MEDIUM_REMOVAL_PREVENTED)
  t.equal(initiator.send(startStop(LOAD)).senseCode, SENSE.MEDIUM_REMOVAL_PREVENTED)
  t.equal(initiator.send('1e 00 00 00 00 00').status, 0)
  t.equal(initiator.send(startStop(EJECT)).status, 0)
  t.equal(initiator.send('1e 00 00 00 02 00').senseCode, SENSE.INVALID_FIELD_IN_CDB)
  t.ok((state.flags & FLAG.EJECTED) !== 0)
})

t.test('PREVENT is accepted where there is nothing to prevent', async (t) => {
  const { initiator, state } = fixture()
  t.equal(initiator.send('1e 00 00 00 01 00').status, 0)
  t.equal(state.flags, FLAG.WRITE_CACHE)
})
