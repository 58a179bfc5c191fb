import t from 'tap'
import { Nexus } from '../../scsi/nexus.js'
import { SENSE } from '../../scsi/sense.js'
import { Target } from '../../scsi/target.js'
import { attentionWord, fixture } from './support/fixture.js'
import { normal } from './support/hex.js'
import { Initiator } from './support/initiator.js'

const { unit, medium } = fixture()
const target = new Target(0)
target.add(new Nexus(unit, 0, 2, attentionWord(), false))
const at = (lun: number): Initiator => new Initiator((task) => target.execute(lun, task), medium)

const SPACES = '20*28'

t.test('INQUIRY to LUN 0 of a target without one: nothing is connected', async (t) => {
  const reply = at(0).send('12 00 00 00 24 00')
  t.equal(reply.data, normal(`3f 00 06 12 5b 00 00 02 ${SPACES}`))
  t.equal(at(0).send('12 01 00 00 ff 00').senseCode, SENSE.INVALID_FIELD_IN_CDB)
  t.equal(at(0).send('12 00 01 00 ff 00').senseCode, SENSE.INVALID_FIELD_IN_CDB)
})

t.test('INQUIRY to another LUN: none is supported there', async (t) => {
  t.equal(at(1).send('12 00 00 00 24 00').data, normal(`7f 00 06 12 5b 00 00 02 ${SPACES}`))
  t.equal(at(1).send('12 00 00 00 05 00').data, normal('7f 00 06 12 5b'))
})

t.test('REPORT LUNS is answered everywhere', async (t) => {
  for (const lun of [0, 1, 0xc101]) {
    t.equal(at(lun).send('a0 00*5 00 00 ff ff 00 00').data, normal('00 00 00 08 00*4 00 02 00*6'))
    t.equal(at(lun).send('a0 00 02 00*3 00 00 ff ff 00 00').data, normal('00 00 00 10 00*4 00 02 00*6 c1 01 00*6'))
    t.equal(at(lun).send('a0 00 00 00*3 00 00 ff ff 00 04').senseCode, SENSE.INVALID_FIELD_IN_CDB)
  }
})

t.test('REQUEST SENSE says that there is no unit, with status GOOD', async (t) => {
  t.equal(at(1).send('03 00 00 00 12 00').data, normal('70 00 05 00*4 0a 00*4 25 00 00*4'))
  t.equal(at(1).send('03 01 00 00 12 00').data, normal('72 05 25 00 00*4'))
})

t.test('all else is not supported', async (t) => {
  for (let opcode = 0; opcode < 256; opcode++) {
    if ([0x03, 0x12, 0xa0].includes(opcode)) continue
    t.equal(at(9).send(Uint8Array.of(opcode)).senseCode, SENSE.LOGICAL_UNIT_NOT_SUPPORTED)
    if (opcode !== 0) t.equal(at(0xc101).send(Uint8Array.of(opcode)).senseCode, SENSE.INVALID_COMMAND_OPERATION_CODE)
  }
})

t.test('the REPORT LUNS well known logical unit', async (t) => {
  const unit = at(0xc101)
  t.equal(unit.send('00*6').status, 0)
  t.equal(unit.send('00 00 00 00 00 04').senseCode, SENSE.INVALID_FIELD_IN_CDB)
  t.equal(unit.send('12 00 00 00 24 00').data, normal(`1e 00 06 12 5b 00 00 02 ${SPACES}`))
  t.equal(unit.send('12 01 00 00 ff 00').data, normal('1e 00 00 01 00'))
  t.equal(unit.send('03 00 00 00 12 00').data, normal('70 00*6 0a 00*10'))
})

t.test('a buffer that is too small is an overrun', async (t) => {
  const reply = at(1).send('12 00 00 00 24 00', { in: 35 })
  t.equal(reply.overrun, true)
})
