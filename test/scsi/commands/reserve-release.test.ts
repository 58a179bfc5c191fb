import t from 'tap'
import { SENSE } from '../../../scsi/sense.js'
import { STATUS } from '../../../scsi/status.js'
import { fixture } from '../support/fixture.js'
import { outList } from '../support/reservations.js'

const READ = '28 00 00 00 00 00 00 00 01 00'
const CONFLICT = STATUS.RESERVATION_CONFLICT
const COMMANDS = [
  ['16 00*5', '17 00*5'],
  ['56 00*9', '57 00*9'],
] as const

t.test('RESERVE keeps others out until RELEASE', async (t) => {
  for (const [reserve, release] of COMMANDS) {
    const one = fixture()
    const a = one.initiator
    const b = one.join('other').initiator
    t.equal(a.send(reserve).status, 0)
    t.same(
      a.effects.map(({ type }) => type),
      ['persist', 'fence'],
    )
    t.equal(a.send(reserve).status, 0)
    t.equal(a.send(READ).status, 0)
    for (const cdb of [READ, '00*6', reserve, '1a 08 3f 00 ff 00', '5e 00 00*5 ff ff 00']) {
      t.equal(b.send(cdb).status, CONFLICT, cdb)
    }
    for (const cdb of ['12 00 00 00 24 00', '03 00 00 00 12 00', 'a0 00*5 00 00 00 10 00 00', '25 00*9', release]) {
      t.equal(b.send(cdb).status, 0, cdb)
    }
    t.equal(b.send(READ).status, CONFLICT, 'RELEASE by another does nothing')
    t.equal(a.send('5e 00 00*5 ff ff 00').status, CONFLICT, 'persistent reservations conflict for its holder as well')
    t.equal(a.send('5f 00 00 00 00 00 00 00 18 00', { out: outList({ actionKey: 1 }) }).status, CONFLICT)
    t.equal(a.send(release).status, 0)
    t.equal(b.send(READ).status, 0)
  }
})

t.test('a logical unit reset ends it', async (t) => {
  const { initiator, server, unitNexus, join } = fixture()
  const b = join('other')
  initiator.send('16 00*5')
  server.reset([unitNexus, b.unitNexus])
  t.equal(b.initiator.send(READ).senseCode, SENSE.BUS_DEVICE_RESET_FUNCTION_OCCURRED)
  t.equal(b.initiator.send(READ).status, 0)
})

t.test('extents and third parties are refused, a LUN of SCSI-2 is not', async (t) => {
  const { initiator } = fixture()
  for (const cdb of ['16 01 00*4', '16 10 00*4', '17 1e 00*4', '56 10 00*8', '56 02 00*8', '57 00 00 05 00*6']) {
    t.equal(initiator.send(cdb).senseCode, SENSE.INVALID_FIELD_IN_CDB, cdb)
  }
  t.equal(initiator.send('56 00 00 00 00 00 00 00 08 00').senseCode, SENSE.INVALID_FIELD_IN_CDB)
  t.equal(initiator.send('16 e0 00*4').status, 0)
  t.equal(initiator.send('17 e0 00*4').status, 0)
})
