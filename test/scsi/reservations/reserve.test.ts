import t from 'tap'
import { RESERVATION_TYPE, RESERVE_OUT } from '../../../scsi/reservations/index.js'
import { SENSE } from '../../../scsi/sense.js'
import { ATTENTION } from '../../../scsi/unit-attention.js'
import { A, B, C, outList, ReservedUnit, told } from '../support/reservations.js'

const { RESERVE, RELEASE, CLEAR, REGISTER } = RESERVE_OUT
const TYPES = Object.values(RESERVATION_TYPE)
const CONFLICT = { kind: 'conflict' }

t.test('RESERVE by a registrant', async (t) => {
  for (const type of TYPES) {
    const unit = new ReservedUnit().register(A, 1).register(B, 2)
    t.match(unit.out(A, RESERVE, type, outList({ key: 1, actionKey: 99 })), { kind: 'done', notices: [] })
    t.same(unit.state.persistent, { type, holder: type < 7 ? A : null }, `${type}`)
    t.equal(unit.state.generation, 2, 'no new generation')
    t.match(unit.out(A, RESERVE, type, outList({ key: 1 })), { kind: 'done' }, 'the same again')
    for (const other of TYPES) {
      if (other !== type) t.same(unit.out(A, RESERVE, other, outList({ key: 1 })), CONFLICT, `${type} to ${other}`)
    }
    const again = unit.out(B, RESERVE, type, outList({ key: 2 }))
    t.equal(again.kind, type < 7 ? 'conflict' : 'done', 'a registrant is a holder where all are')
    t.same(unit.out(C, RESERVE, type, outList({ key: 0 })), CONFLICT, 'not registered')
    t.same(unit.out(A, RESERVE, type, outList({ key: 2 })), CONFLICT, 'a wrong key')
  }
})

t.test('scope and type that there are not', async (t) => {
  const unit = new ReservedUnit().register(A, 1)
  const list = outList({ key: 1 })
  const invalid = (bit: number) => ({ kind: 'failed', sense: SENSE.INVALID_FIELD_IN_CDB, byte: 2, bit })
  for (const type of [0, 2, 4, 9, 10, 15]) t.same(unit.out(A, RESERVE, type, list), invalid(3), `${type}`)
  for (const scope of [1, 2, 15]) t.same(unit.out(A, RESERVE, 1, list, scope), invalid(7), `${scope}`)
  t.same(unit.out(A, RESERVE, 0, outList({ key: 2 }), 1), CONFLICT, 'the key comes first')
  t.equal(unit.state.persistent, null)
})

t.test('RELEASE by a holder tells other registrants where the reservation was theirs too', async (t) => {
  for (const type of TYPES) {
    const unit = new ReservedUnit().register(A, 1).register(B, 2).register(C, 3).reserve(A, 1, type)
    const outcome = unit.out(A, RELEASE, type, outList({ key: 1 }))
    const who = type >= 5 ? ['b', 'c'] : []
    t.same(
      told(outcome),
      who.map((each) => [each, ATTENTION.RESERVATIONS_RELEASED]),
      `${type}`,
    )
    t.equal(unit.state.persistent, null)
    t.equal(unit.keys, 'a1 b2 c3')
    t.equal(unit.state.generation, 3)
  }
})

t.test('RELEASE by others does nothing', async (t) => {
  const unit = new ReservedUnit().register(A, 1).register(B, 2)
  t.match(unit.out(A, RELEASE, 3, outList({ key: 1 })), { kind: 'done', notices: [] }, 'nothing is reserved')
  unit.reserve(A, 1, RESERVATION_TYPE.EXCLUSIVE_ACCESS)
  t.match(unit.out(B, RELEASE, 3, outList({ key: 2 })), { kind: 'done', notices: [] })
  t.match(unit.out(B, RELEASE, 1, outList({ key: 2 })), { kind: 'done', notices: [] })
  t.same(unit.out(B, RELEASE, 3, outList({ key: 1 })), CONFLICT)
  t.same(unit.out(C, RELEASE, 3, outList()), CONFLICT)
  t.same(unit.state.persistent, { type: 3, holder: A })
})

t.test('RELEASE of something else', async (t) => {
  const unit = new ReservedUnit().register(A, 1).reserve(A, 1, RESERVATION_TYPE.EXCLUSIVE_ACCESS)
  const invalid = { kind: 'failed', sense: SENSE.INVALID_RELEASE_OF_PERSISTENT_RESERVATION, byte: -1, bit: -1 }
  for (const type of [0, 1, 5, 6, 7, 8]) t.same(unit.out(A, RELEASE, type, outList({ key: 1 })), invalid)
  t.same(unit.out(A, RELEASE, 3, outList({ key: 1 }), 1), invalid)
  t.same(unit.state.persistent, { type: 3, holder: A })
})

t.test('any registrant may release what all hold', async (t) => {
  const type = RESERVATION_TYPE.WRITE_EXCLUSIVE_ALL_REGISTRANTS
  const unit = new ReservedUnit().register(A, 1).register(B, 2).reserve(A, 1, type)
  t.same(told(unit.out(B, RELEASE, type, outList({ key: 2 }))), [['a', ATTENTION.RESERVATIONS_RELEASED]])
  t.equal(unit.state.persistent, null)
})

t.test('CLEAR', async (t) => {
  const unit = new ReservedUnit().register(A, 1).register(B, 2).register(C, 3)
  unit.out(C, REGISTER, 0, outList({ key: 3, actionKey: 3, aptpl: true }))
  unit.reserve(A, 1, RESERVATION_TYPE.EXCLUSIVE_ACCESS)
  t.same(unit.out(B, CLEAR, 15, outList({ key: 1 }), 3), CONFLICT)
  t.same(told(unit.out(B, CLEAR, 15, outList({ key: 2 }), 3)), [
    ['a', ATTENTION.RESERVATIONS_PREEMPTED],
    ['c', ATTENTION.RESERVATIONS_PREEMPTED],
  ])
  t.same(unit.state, { generation: 5, aptpl: true, registrants: [], persistent: null, reserved: null })
  t.same(unit.out(B, CLEAR, 0, outList({ key: 2 })), CONFLICT, 'it is not registered any more')
})
