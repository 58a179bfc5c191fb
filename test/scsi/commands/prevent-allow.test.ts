import t from 'tap'
import { NEXUS_WORD } from '../../../scsi/access.js'
import { SENSE } from '../../../scsi/sense.js'
import { fixture } from '../support/fixture.js'

t.test('PREVENT and ALLOW are one nexus’s own', async (t) => {
  const { initiator, nexus, join } = fixture({ removable: true })
  const other = join('other').nexus
  t.equal(initiator.send('1e 00 00 00 01 00').status, 0)
  t.equal(nexus.attention[NEXUS_WORD.PREVENTS], 1)
  t.equal(other.attention[NEXUS_WORD.PREVENTS], 0)
  t.equal(initiator.send('1e 00 00 00 01 00').status, 0)
  t.equal(initiator.send('1e 00 00 00 00 00').status, 0)
  t.equal(nexus.attention[NEXUS_WORD.PREVENTS], 0)
})

t.test('the obsolete PREVENT values are refused, and a fixed medium has nothing to prevent', async (t) => {
  for (const removable of [false, true]) {
    const { initiator, nexus } = fixture({ removable })
    for (const prevent of ['02', '03']) {
      t.equal(initiator.send(`1e 00 00 00 ${prevent} 00`).senseCode, SENSE.INVALID_FIELD_IN_CDB)
    }
    t.equal(nexus.attention[NEXUS_WORD.PREVENTS], 0)
  }
  const { initiator, nexus } = fixture()
  t.equal(initiator.send('1e 00 00 00 01 00').status, 0)
  t.equal(nexus.attention[NEXUS_WORD.PREVENTS], 0)
})
