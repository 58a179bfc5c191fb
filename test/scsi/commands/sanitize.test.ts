import t from 'tap'
import { ERRNO } from '../../../scsi/errno.js'
import { SENSE } from '../../../scsi/sense.js'
import { ACTION } from '../../../scsi/task.js'
import { FLAG } from '../../../scsi/unit-state.js'
import { BLOCKS, fixture } from '../support/fixture.js'
import { bytes, normal } from '../support/hex.js'

const SIZE = BLOCKS * 512
const overwrite = (list: Uint8Array, flags = 0): { cdb: Uint8Array; out: Uint8Array } => ({
  cdb: Uint8Array.of(0x48, 0x01 | flags, 0, 0, 0, 0, 0, list.length >>> 8, list.length, 0),
  out: list,
})
const IMMED = 0x80
const AUSE = 0x20
const BLOCK_ERASE = '48 02 00*8'
const EXIT_FAILURE_MODE = '48 1f 00*8'

t.test('OVERWRITE', async (t) => {
  const { initiator, medium, state } = fixture()
  const { cdb, out } = overwrite(bytes('01 00 00 03 aa bb cc'))
  t.match(initiator.send(cdb, { out }), { status: 0, residual: 0 })
  const block = Uint8Array.from({ length: 512 }, (_, i) => [0xaa, 0xbb, 0xcc][i % 3]!)
  for (const at of [0, 1, BLOCKS - 1]) t.same(medium.bytes.subarray(at * 512, at * 512 + 512), block, `block ${at}`)
  t.same(
    initiator.effects.map(({ type }) => type),
    ['fence', 'detach', 'fill', 'flush'],
  )
  t.match(initiator.effects[1], { answer: false, recallable: false })
  t.equal(state.flags & (FLAG.SANITIZING | FLAG.SANITIZE_FAILED), 0)
})

t.test('the inverse in between', async (t) => {
  const { initiator } = fixture()
  const { cdb, out } = overwrite(bytes('83 00 00 01 0f'))
  t.equal(initiator.send(cdb, { out }).status, 0)
  t.same(
    initiator.effects.flatMap((effect) => (effect.type === 'fill' ? [effect.pattern[511]] : [])),
    [0x0f, 0xf0, 0x0f],
  )
})

t.test('BLOCK ERASE', async (t) => {
  const { initiator, medium } = fixture()
  medium.bytes.fill(1)
  t.equal(initiator.send(BLOCK_ERASE).status, 0)
  t.same(medium.log, [
    [ACTION.DISCARD, 0, SIZE, false],
    [ACTION.FLUSH, 0, 0, false],
  ])
  t.ok(medium.bytes.every((byte) => byte === 0))
  const thick = fixture({ discard: false }).initiator
  t.match(thick.send(BLOCK_ERASE), { senseCode: SENSE.INVALID_FIELD_IN_CDB }, 'only where there is UNMAP')
})

t.test('what is no SANITIZE', async (t) => {
  const { initiator, medium } = fixture()
  const list = (length: number): { cdb: Uint8Array; out: Uint8Array } => {
    const out = new Uint8Array(length)
    out.set(bytes('01 00 00 01').subarray(0, length))
    return overwrite(out)
  }
  for (const length of [0, 1, 2, 3, 4, 517]) {
    const { cdb, out } = list(length)
    t.match(initiator.send(cdb, { out }), { senseCode: SENSE.INVALID_FIELD_IN_CDB }, `a list of ${length} bytes`)
  }
  for (const [what, header] of [
    ['no pass', '00 00 02 00'],
    ['no pattern', '01 00 00 00'],
    ['a pattern of more than a block', '01 00 02 04'],
    ['one that is longer than the list', '01 00 00 11'],
  ] as const) {
    const out = new Uint8Array(what.endsWith('list') ? 20 : 516)
    out.set(bytes(header))
    const { cdb } = overwrite(out)
    t.match(initiator.send(cdb, { out }), { senseCode: SENSE.INVALID_FIELD_IN_PARAMETER_LIST }, what)
  }
  t.match(initiator.send('48 02 00*5 00 08 00', { out: '00*8' }), { senseCode: SENSE.INVALID_FIELD_IN_CDB })
  t.match(initiator.send('48 1f 00*5 00 08 00', { out: '00*8' }), { senseCode: SENSE.INVALID_FIELD_IN_CDB })
  t.match(initiator.send('48 42 00*8'), { senseCode: SENSE.INVALID_FIELD_IN_CDB }, 'ZNR')
  for (const action of ['00', '03', '04', '1e']) {
    t.match(initiator.send(`48 ${action} 00*8`), { senseCode: SENSE.INVALID_FIELD_IN_CDB }, `service action ${action}`)
  }
  t.same(medium.log, [])
})

t.test('what others find meanwhile', async (t) => {
  const { initiator, server, state, unitNexus, join } = fixture()
  const other = join('another').initiator
  const task = initiator.task
  task.cdbBytes.fill(0)
  task.cdbBytes.set(bytes('48 82 00*8'))
  task.parameterLength = 0
  const effects = server.execute(task, unitNexus)!
  t.match(effects.next(), { value: { type: 'fence' } })
  t.match(effects.next(0), { value: { type: 'detach', answer: true } })
  state.progress = 0.5
  t.equal(state.flags & FLAG.SANITIZING, FLAG.SANITIZING)
  const IN_PROGRESS = SENSE.LOGICAL_UNIT_NOT_READY_SANITIZE_IN_PROGRESS
  t.match(other.send('00*6'), { senseCode: IN_PROGRESS, sense: normal('70 00 02 00*4 0a 00*4 04 1b 00 80 80 00') })
  for (const cdb of ['28 00*6 00 01 00', '2a 00*6 00 01 00', '1b 00*5', '5a 00 3f 00*4 00 ff 00', BLOCK_ERASE]) {
    t.match(other.send(cdb, { out: '00*512' }), { senseCode: IN_PROGRESS }, cdb)
  }
  t.match(other.send('12 00 00 00 ff 00'), { status: 0 })
  t.match(other.send('a0 00*5 00 00 10 00 00 00'), { status: 0 })
  t.equal(other.send('03 00 00 00 fc 00').data, normal('70 00 02 00*4 0a 00*4 04 1b 00 80 80 00'))
  t.equal(other.send('03 01 00 00 fc 00').data, normal('72 02 04 1b 00 00 00 08 02 06 00 00 80 80 00 00'))
  t.match(server.execute(other.task, unitNexus), null)
  while (!effects.next(0).done);
  t.match(other.send('00*6'), { status: 0 })
  t.equal(state.progress, 1)
})

t.test('one that was forwarded before another began', async (t) => {
  const { server, state, unitNexus, initiator } = fixture()
  state.set(FLAG.FORMATTING)
  const task = initiator.task
  task.cdbBytes.set(bytes('48 02 00*8'))
  t.match(server.execute(task, unitNexus)!.next(), { done: true })
  t.equal(task.senseCode, SENSE.LOGICAL_UNIT_NOT_READY_FORMAT_IN_PROGRESS)
  t.equal(state.flags & FLAG.FORMATTING, FLAG.FORMATTING)
})

t.test('one that fails', async (t) => {
  const { initiator, medium, state } = fixture()
  const fail = (flags: number): void => {
    medium.faults.set(ACTION.WRITE_PATTERN, ERRNO.EIO)
    const { cdb, out } = overwrite(bytes('01 00 00 01 00'), flags)
    t.match(initiator.send(cdb, { out }), { senseCode: SENSE.SANITIZE_COMMAND_FAILED })
    t.equal(state.flags & (FLAG.SANITIZING | FLAG.SANITIZE_FAILED), FLAG.SANITIZE_FAILED)
  }
  fail(0)
  for (const cdb of ['00*6', '28 00*6 00 01 00', '04 00*5']) {
    t.match(initiator.send(cdb), { senseCode: SENSE.SANITIZE_COMMAND_FAILED }, cdb)
  }
  t.match(initiator.send('12 00 00 00 ff 00'), { status: 0 })
  t.match(initiator.send('03 00 00 00 ff 00').data, /^70 00 03 .* 31 03/)
  t.match(initiator.send(EXIT_FAILURE_MODE), { senseCode: SENSE.INVALID_FIELD_IN_CDB }, 'not without AUSE')
  t.equal(initiator.send(BLOCK_ERASE).status, 0, 'another one')
  t.equal(initiator.send('00*6').status, 0)
  fail(AUSE)
  t.equal(initiator.send(EXIT_FAILURE_MODE).status, 0)
  t.equal(initiator.send('00*6').status, 0)
  t.equal(initiator.send(EXIT_FAILURE_MODE).status, 0, 'nothing to exit')
  fail(AUSE | IMMED)
})

t.test('one that is ended from outside has failed', async (t) => {
  const { server, state, unitNexus, initiator } = fixture()
  const task = initiator.task
  task.cdbBytes.fill(0)
  task.cdbBytes.set(bytes('48 02 00*8'))
  const effects = server.execute(task, unitNexus)!
  for (let i = 0; i < 3; i++) effects.next(0)
  effects.return()
  t.equal(state.flags & (FLAG.SANITIZING | FLAG.SANITIZE_FAILED), FLAG.SANITIZE_FAILED)
})

t.test('a read-only unit', async (t) => {
  const { initiator } = fixture({ readOnly: true })
  t.match(initiator.send(BLOCK_ERASE), { senseCode: SENSE.WRITE_PROTECTED })
})
