import t from 'tap'
import { NEXUS_WORD } from '../../../scsi/access.js'
import { RESERVE_OUT } from '../../../scsi/reservations/index.js'
import { SENSE } from '../../../scsi/sense.js'
import { STATUS } from '../../../scsi/status.js'
import { fixture } from '../support/fixture.js'
import { normal } from '../support/hex.js'
import type { Initiator } from '../support/initiator.js'
import { type ListFields, moveList, outList } from '../support/reservations.js'

const READ = '28 00 00 00 00 00 00 00 01 00'
const WRITE = '2a 00 00 00 00 00 00 00 01 00'
const TEST_UNIT_READY = '00*6'
const { REGISTER, RESERVE, RELEASE, CLEAR, PREEMPT, PREEMPT_AND_ABORT, REGISTER_AND_MOVE } = RESERVE_OUT

/** Two initiators, each with a controller of its own. */
function pair() {
  const one = fixture()
  const other = one.join('other')
  return { server: one.server, medium: one.medium, a: one, b: other }
}

function out(initiator: Initiator, action: number, type: number, fields: ListFields | Uint8Array) {
  const list = fields instanceof Uint8Array ? fields : outList(fields)
  const cdb = Uint8Array.of(0x5f, action, type, 0, 0, 0, 0, list.length >>> 8, list.length, 0)
  return initiator.send(cdb, { out: list })
}

const READ_KEYS = '5e 00 00*5 ff ff 00'
const READ_RESERVATION = '5e 01 00*5 ff ff 00'
const REPORT_CAPABILITIES = '5e 02 00*5 ff ff 00'
const READ_FULL_STATUS = '5e 03 00*5 ff ff 00'
const BLOCK = new Uint8Array(512)
const tried = (initiator: Initiator) => [initiator.send(READ).status, initiator.send(WRITE, { out: BLOCK }).status]
const CONFLICT = STATUS.RESERVATION_CONFLICT

t.test('register, reserve, conflict on the other path, release, in bytes', async (t) => {
  const { a, b } = pair()
  t.match(a.initiator.send('5f 00 00 00 00 00 00 00 18 00', { out: outList({ actionKey: 0x1234 }) }), {
    status: 0,
    residual: 0,
    overrun: false,
  })
  t.equal(b.initiator.send(READ_KEYS).data, normal('00 00 00 01 00 00 00 08 00*6 12 34'))
  t.equal(out(a.initiator, RESERVE, 0x01, { key: 0x1234 }).status, 0)
  t.equal(b.initiator.send(READ_RESERVATION).data, normal('00 00 00 01 00 00 00 10 00*6 12 34 00*4 00 01 00 00'))
  t.equal(b.initiator.send(REPORT_CAPABILITIES).data, normal('00 08 1c c0 ea 01 00 00'))
  t.equal(
    b.initiator.send(READ_FULL_STATUS).data,
    normal('00 00 00 01 00 00 00 30 00*6 12 34 00*4 01 01 00*4 00 01 00 00 00 18 06 00 00 00 30 00*6 01 00*12'),
  )
  t.same(tried(a.initiator), [0, 0])
  t.same(tried(b.initiator), [0, CONFLICT])
  t.equal(b.initiator.send(TEST_UNIT_READY).status, 0)
  t.equal(out(a.initiator, RELEASE, 0x01, { key: 0x1234 }).status, 0)
  t.same(tried(b.initiator), [0, 0])
})

t.test('access by all types', async (t) => {
  for (const [type, registered, other] of [
    [1, [0, CONFLICT], [0, CONFLICT]],
    [3, [CONFLICT, CONFLICT], [CONFLICT, CONFLICT]],
    [5, [0, 0], [0, CONFLICT]],
    [6, [0, 0], [CONFLICT, CONFLICT]],
    [7, [0, 0], [0, CONFLICT]],
    [8, [0, 0], [CONFLICT, CONFLICT]],
  ] as const) {
    const { a, b } = pair()
    out(a.initiator, REGISTER, 0, { actionKey: 1 })
    out(a.initiator, RESERVE, type, { key: 1 })
    t.same(tried(a.initiator), [0, 0], `${type}`)
    t.same(tried(b.initiator), other, `${type}: not registered`)
    out(b.initiator, REGISTER, 0, { actionKey: 2 })
    t.same(tried(b.initiator), registered, `${type}: registered`)
  }
})

t.test('PREEMPT: the other learns of it, and may not any more', async (t) => {
  const { a, b } = pair()
  out(a.initiator, REGISTER, 0, { actionKey: 1 })
  out(b.initiator, REGISTER, 0, { actionKey: 2 })
  out(a.initiator, RESERVE, 3, { key: 1 })
  t.equal(out(b.initiator, PREEMPT, 3, { key: 2, actionKey: 1 }).status, 0)
  t.same(tried(b.initiator), [0, 0])
  t.same(tried(a.initiator), [CONFLICT, CONFLICT], 'before the unit attention')
  t.equal(a.initiator.send(TEST_UNIT_READY).senseCode, SENSE.REGISTRATIONS_PREEMPTED)
  t.same(out(a.initiator, RELEASE, 3, { key: 1 }).status, CONFLICT)
  t.equal(a.initiator.send(READ_KEYS).data, normal('00 00 00 03 00 00 00 08 00*7 02'))
})

t.test('PREEMPT AND ABORT ends the commands of who is preempted, then waits for what was admitted', async (t) => {
  const { a, b } = pair()
  out(a.initiator, REGISTER, 0, { actionKey: 1 })
  out(b.initiator, REGISTER, 0, { actionKey: 2 })
  out(a.initiator, RESERVE, 3, { key: 1 })
  a.unitNexus.attention[NEXUS_WORD.PREVENTS] = 1
  b.initiator.effects.length = 0
  t.equal(out(b.initiator, PREEMPT_AND_ABORT, 3, { key: 2, actionKey: 1 }).status, 0)
  t.same(
    b.initiator.effects.map((effect) => effect.type),
    ['persist', 'abort', 'fence'],
  )
  t.same(b.initiator.effects[1], { type: 'abort', nexuses: [a.unitNexus] })
  t.equal(a.unitNexus.attention[NEXUS_WORD.PREVENTS], 0)
})

t.test('CLEAR and REGISTER AND MOVE', async (t) => {
  const { a, b } = pair()
  out(a.initiator, REGISTER, 0, { actionKey: 1 })
  out(a.initiator, RESERVE, 1, { key: 1 })
  const to = { initiator: b.unitNexus.initiator, port: b.unitNexus.port.relative }
  const moved = out(a.initiator, REGISTER_AND_MOVE, 0, moveList({ key: 1, actionKey: 2, to, unregister: true }))
  t.equal(moved.status, 0)
  t.same(tried(a.initiator), [0, CONFLICT])
  t.same(tried(b.initiator), [0, 0])
  out(a.initiator, REGISTER, 0, { actionKey: 1 })
  t.equal(out(b.initiator, CLEAR, 0, { key: 2 }).status, 0)
  t.equal(a.initiator.send(READ).senseCode, SENSE.RESERVATIONS_PREEMPTED)
  t.same(tried(a.initiator), [0, 0])
})

t.test('what changes nothing asks for nothing; what makes others conflict waits for them', async (t) => {
  const { a } = pair()
  const effects = (action: number, type: number, fields: ListFields) => {
    a.initiator.effects.length = 0
    out(a.initiator, action, type, fields)
    return a.initiator.effects.map((effect) => effect.type)
  }
  t.same(effects(REGISTER, 0, { actionKey: 1 }), ['persist'])
  t.same(effects(RELEASE, 1, { key: 1 }), [])
  t.same(effects(RESERVE, 1, { key: 1 }), ['persist', 'fence'])
  t.same(effects(RESERVE, 1, { key: 1 }), [])
  t.same(effects(RESERVE, 3, { key: 1 }), [])
  t.same(effects(PREEMPT, 3, { key: 1, actionKey: 1 }), ['persist', 'fence'])
  t.same(effects(RELEASE, 3, { key: 1 }), ['persist'])
})

t.test('field pointers', async (t) => {
  const { a } = pair()
  const { initiator } = a
  const pointer = (bytes: string) => normal(`70 00 05 00*4 0a 00*4 ${bytes}`)
  t.equal(out(initiator, REGISTER, 0, { actionKey: 1, aptpl: true }).sense, pointer('26 00 00 88 00 14'))
  out(initiator, REGISTER, 0, { actionKey: 1 })
  t.equal(out(initiator, RESERVE, 2, { key: 1 }).sense, pointer('24 00 00 cb 00 02'))
  t.equal(out(initiator, RESERVE, 0x11, { key: 1 }).sense, pointer('24 00 00 cf 00 02'))
  t.equal(out(initiator, PREEMPT, 1, { key: 1 }).sense, pointer('26 00 00 80 00 08'))
  out(initiator, RESERVE, 1, { key: 1 })
  t.equal(out(initiator, RELEASE, 3, { key: 1 }).sense, pointer('26 04 00 00 00 00'))
})

t.test('parameter list lengths', async (t) => {
  const { a } = pair()
  const send = (length: string, bytes: number) =>
    a.initiator.send(`5f 00 00 00 00 ${length} 00`, { out: new Uint8Array(bytes) })
  t.equal(send('00 00 00 00', 0).senseCode, SENSE.PARAMETER_LIST_LENGTH_ERROR)
  t.equal(send('00 00 00 17', 24).senseCode, SENSE.PARAMETER_LIST_LENGTH_ERROR)
  t.equal(send('00 00 00 19', 25).senseCode, SENSE.PARAMETER_LIST_LENGTH_ERROR)
  t.equal(send('00 01 00 01', 65537).senseCode, SENSE.PARAMETER_LIST_LENGTH_ERROR)
  t.equal(send('ff ff ff ff', 24).senseCode, SENSE.PARAMETER_LIST_LENGTH_ERROR)
  t.match(send('00 00 00 18', 23), { overrun: true })
  t.equal(send('00 00 00 18', 24).status, 0)
})

t.test('service actions that there are not', async (t) => {
  const { a } = pair()
  const invalid = normal('70 00 05 00*4 0a 00*4 24 00 00 cc 00 01')
  for (let action = 4; action < 32; action++) {
    const cdb = Uint8Array.of(0x5e, action, 0, 0, 0, 0, 0, 0xff, 0xff, 0)
    t.equal(a.initiator.send(cdb).sense, invalid, `IN ${action}`)
    if (action >= 8) t.equal(out(a.initiator, action, 1, {}).sense, invalid, `OUT ${action}`)
  }
})

t.test('ALLOCATION LENGTH', async (t) => {
  const { a } = pair()
  out(a.initiator, REGISTER, 0, { actionKey: 1 })
  t.match(a.initiator.send('5e 00 00*5 00 00 00'), { status: 0, data: '' })
  t.equal(a.initiator.send('5e 00 00*5 00 09 00').data, normal('00 00 00 01 00 00 00 08 00'))
  t.equal(a.initiator.send('5e 02 00*5 00 03 00').data, normal('00 08 1c'))
})

t.test('what cannot be kept has not happened', async (t) => {
  const { server, a, b } = pair()
  out(a.initiator, REGISTER, 0, { actionKey: 1 })
  out(b.initiator, REGISTER, 0, { actionKey: 2 })
  out(a.initiator, RESERVE, 1, { key: 1 })
  const before = server.reservations.state
  b.initiator.faults.set('persist', 28)
  t.equal(out(b.initiator, PREEMPT, 3, { key: 2, actionKey: 1 }).senseCode, SENSE.INTERNAL_TARGET_FAILURE)
  t.same(server.reservations.state, before)
  t.same(tried(a.initiator), [0, 0], 'no unit attention')
  t.same(tried(b.initiator), [0, CONFLICT])
})
