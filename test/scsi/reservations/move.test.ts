import t from 'tap'
import { RESERVATION_TYPE, RESERVE_OUT } from '../../../scsi/reservations/index.js'
import { MAX_REGISTRANTS } from '../../../scsi/reservations/state.js'
import { SENSE } from '../../../scsi/sense.js'
import { A, B, C, key, moveList, outList, ReservedUnit } from '../support/reservations.js'

const { REGISTER_AND_MOVE: MOVE, REGISTER } = RESERVE_OUT
const CONFLICT = { kind: 'conflict' }
const invalid = (byte: number, bit = -1) => ({
  kind: 'failed',
  sense: SENSE.INVALID_FIELD_IN_PARAMETER_LIST,
  byte,
  bit,
})

t.test('the reservation moves, and keeps its type', async (t) => {
  for (const type of [1, 3, 5, 6]) {
    const unit = new ReservedUnit().register(A, 1).reserve(A, 1, type)
    const list = moveList({ key: 1, actionKey: 9, to: B })
    t.match(unit.out(A, MOVE, 15, list, 0), { kind: 'done', notices: [], preempted: [] })
    t.equal(unit.keys, 'a1 b9')
    t.same(unit.state.persistent, { type, holder: B })
    t.equal(unit.state.generation, 2)
    t.same(unit.out(A, MOVE, 0, list), CONFLICT, 'it is not the holder any more')
  }
})

t.test('UNREG takes the sender out', async (t) => {
  const unit = new ReservedUnit().register(A, 1).reserve(A, 1, RESERVATION_TYPE.EXCLUSIVE_ACCESS)
  t.match(unit.out(A, MOVE, 0, moveList({ key: 1, actionKey: 9, to: B, unregister: true })), { kind: 'done' })
  t.equal(unit.keys, 'b9')
  t.same(unit.state.persistent, { type: 3, holder: B })
})

t.test('to one that is registered already, which gets the new key', async (t) => {
  const unit = new ReservedUnit().register(A, 1).register(B, 2).reserve(A, 1, 1)
  t.match(unit.out(A, MOVE, 0, moveList({ key: 1, actionKey: 5, to: B, aptpl: true })), { kind: 'done' })
  t.equal(unit.keys, 'a1 b5')
  t.equal(unit.state.aptpl, true)
  t.match(unit.out(B, MOVE, 0, moveList({ key: 5, actionKey: 1, to: A })), { kind: 'done' })
  t.equal(unit.state.aptpl, false)
})

t.test('who may not', async (t) => {
  const unit = new ReservedUnit().register(A, 1).register(B, 2)
  const list = (own: number) => moveList({ key: own, actionKey: 9, to: C })
  t.same(unit.out(C, MOVE, 0, list(0)), CONFLICT, 'not registered')
  t.same(unit.out(A, MOVE, 0, list(1)), { kind: 'failed', sense: SENSE.INVALID_FIELD_IN_CDB, byte: 1, bit: 4 })
  unit.reserve(A, 1, 1)
  t.same(unit.out(A, MOVE, 0, list(2)), CONFLICT, 'a wrong key')
  t.same(unit.out(B, MOVE, 0, list(2)), CONFLICT, 'not the holder')
  for (const type of [7, 8]) {
    const all = new ReservedUnit().register(A, 1).reserve(A, 1, type)
    t.same(all.out(A, MOVE, 0, list(1)), CONFLICT, 'all are holders')
  }
})

t.test('lists that cannot be', async (t) => {
  const unit = new ReservedUnit().register(A, 1).reserve(A, 1, 1)
  const before = unit.state
  const good = moveList({ key: 1, actionKey: 9, to: B })
  const send = (list: Uint8Array) => unit.out(A, MOVE, 0, list)
  const changed = (at: number, ...bytes: number[]) => {
    const list = good.slice()
    list.set(bytes, at)
    return send(list)
  }
  t.same(send(moveList({ key: 1, to: B })), invalid(8), 'no key')
  t.same(send(moveList({ key: 1, actionKey: 9, to: { ...B, port: 4 } })), invalid(18), 'no such port')
  t.same(send(moveList({ key: 1, actionKey: 9, to: { ...A, port: 2 } })), invalid(24), 'its own initiator port')
  t.same(changed(24, 0x45), invalid(24), 'of iSCSI')
  for (const length of [0, 20, 23]) t.same(changed(20, 0, 0, 0, length), invalid(20), `${length}`)
  const lengthError = { kind: 'failed', sense: SENSE.PARAMETER_LIST_LENGTH_ERROR, byte: -1, bit: -1 }
  t.same(changed(20, 0, 0, 0, 28), lengthError)
  t.same(changed(20, 0xff, 0xff, 0xff, 0xff), lengthError)
  t.same(send(good.subarray(0, 47)), lengthError)
  t.same(send(good.subarray(0, 24)), lengthError)
  unit.persistent = false
  t.same(send(moveList({ key: 1, actionKey: 9, to: B, aptpl: true })), invalid(17, 0))
  t.same(unit.state, before)
})

t.test('SPEC_I_PT is a bit of the TransportID there', async (t) => {
  const unit = new ReservedUnit().register(A, 1).reserve(A, 1, 1)
  const to = { initiator: 'ffffffffffffffff', port: 2 }
  const list = moveList({ key: 1, actionKey: 9, to })
  t.match(unit.out(A, MOVE, 0, list), { kind: 'done' })
  t.same(unit.state.persistent, { type: 1, holder: to })
})

t.test('there is an end to registrations', async (t) => {
  const unit = new ReservedUnit()
  const initiators = Array.from({ length: MAX_REGISTRANTS - 1 }, (_, i) => (i + 0x1000).toString(16).padStart(16, '3'))
  unit.out(A, REGISTER, 0, outList({ actionKey: 1, initiators }))
  unit.reserve(A, 1, 1)
  const list = moveList({ key: 1, actionKey: 9, to: B })
  t.same(unit.out(A, MOVE, 0, list), {
    kind: 'failed',
    sense: SENSE.INSUFFICIENT_REGISTRATION_RESOURCES,
    byte: -1,
    bit: -1,
  })
  const leaving = moveList({ key: 1, actionKey: 9, to: B, unregister: true })
  t.match(unit.out(A, MOVE, 0, leaving), { kind: 'done' }, 'one goes, one comes')
  t.match(unit.state.registrants.at(-1), { ...B, key: key(9) })
})
