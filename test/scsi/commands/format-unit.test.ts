import t from 'tap'
import { ERRNO } from '../../../scsi/errno.js'
import { SENSE } from '../../../scsi/sense.js'
import { ACTION } from '../../../scsi/task.js'
import { FLAG } from '../../../scsi/unit-state.js'
import { BLOCKS, fixture } from '../support/fixture.js'

const SIZE = BLOCKS * 512

t.test('zeros unless something else is asked for', async (t) => {
  for (const [what, cdb, out] of [
    ['no list', '04 00*5', ''],
    ['a short header', '04 10 00*4', '00*4'],
    ['a long one', '04 30 00*4', '00*8'],
    ['with FOV and DCRT, and a complete list of no defects', '04 18 00*4', '00 a0 00 00'],
    ['the default pattern', '04 10 00*4', '00 88 00 00 00 00 00 00'],
  ] as const) {
    const { initiator, medium } = fixture()
    medium.bytes.fill(1)
    t.match(initiator.send(cdb, { out }), { status: 0 }, what)
    t.match(medium.log, [
      [ACTION.DISCARD, 0, SIZE],
      [ACTION.FLUSH, 0, 0],
    ])
    t.match(initiator.effects[1], { type: 'detach', answer: false })
  }
})

t.test('a pattern, and an answer at once', async (t) => {
  const { initiator, medium } = fixture()
  t.match(initiator.send('04 10 00*4', { out: '00 8a 00 00 00 01 00 02 5a a5' }), { status: 0 })
  t.same(medium.bytes.subarray(SIZE - 4), [0x5a, 0xa5, 0x5a, 0xa5])
  t.match(initiator.effects[1], { type: 'detach', answer: true })
  t.match(initiator.send('04 30 00*4', { out: '00 88 00 00 00*4 00 01 00 01 77' }), { status: 0 })
  t.ok(medium.bytes.every((byte) => byte === 0x77))
})

t.test('what is no FORMAT UNIT', async (t) => {
  const { initiator, medium } = fixture()
  const {
    INVALID_FIELD_IN_CDB: CDB,
    INVALID_FIELD_IN_PARAMETER_LIST: LIST,
    PARAMETER_LIST_LENGTH_ERROR: LENGTH,
  } = SENSE
  for (const [what, cdb, out, senseCode] of [
    ['protection information', '04 40 00*4', '', CDB],
    ['options without a list', '04 08 00*4', '', CDB],
    ['a header that is cut short', '04 10 00*4', '00*3', LENGTH],
    ['a long one that is', '04 30 00*4', '00*7', LENGTH],
    ['PROTECTION FIELD USAGE', '04 10 00*4', '01 00 00 00', LIST],
    ['a protection interval', '04 30 00*4', '00 00 00 01 00*4', LIST],
    ['options without FOV', '04 10 00*4', '00 20 00 00', LIST],
    ['a list of defects', '04 10 00*4', '00 80 00 08 00*8', LIST],
    ['a long list of defects', '04 30 00*4', '00 80 00 00 00 00 00 08 00*8', LIST],
    ['half a pattern descriptor', '04 10 00*4', '00 88 00 00 00 01', LENGTH],
    ['addresses in the blocks', '04 10 00*4', '00 88 00 00 40 01 00 01 00', LIST],
    ['another type of pattern', '04 10 00*4', '00 88 00 00 00 02 00 01 00', LIST],
    ['a default pattern that is given', '04 10 00*4', '00 88 00 00 00 00 00 01 00', LIST],
    ['no pattern', '04 10 00*4', '00 88 00 00 00 01 00 00', LIST],
    ['one of more than a block', '04 10 00*4', '00 88 00 00 00 01 02 01 00*513', LIST],
    ['one that is cut short', '04 10 00*4', '00 88 00 00 00 01 00 02 00', LENGTH],
  ] as const) {
    t.match(initiator.send(cdb, { out }), { senseCode }, what)
  }
  t.same(medium.log, [])
})

t.test('one that fails leaves a medium that cannot be used, until another one succeeds', async (t) => {
  const { initiator, medium, state } = fixture()
  medium.faults.set(ACTION.DISCARD, ERRNO.ENOSPC)
  t.match(initiator.send('04 00*5'), { senseCode: SENSE.FORMAT_COMMAND_FAILED })
  t.equal(state.flags & (FLAG.FORMATTING | FLAG.FORMAT_FAILED), FLAG.FORMAT_FAILED)
  t.match(initiator.send('28 00*6 00 01 00'), { senseCode: SENSE.MEDIUM_FORMAT_CORRUPTED })
  t.match(initiator.send('5a 00 3f 00*4 00 ff 00'), { status: 0 }, 'what needs no medium')
  t.match(initiator.send('04 00*5'), { status: 0 })
  t.match(initiator.send('28 00*6 00 01 00'), { status: 0 })
})
