import t from 'tap'
import { type Outcome, RESERVATION_TYPE, RESERVE_OUT } from '../../../scsi/reservations/index.js'
import { SENSE } from '../../../scsi/sense.js'
import { ATTENTION } from '../../../scsi/unit-attention.js'
import { A, B, C, outList, ReservedUnit, told } from '../support/reservations.js'

const { PREEMPT, PREEMPT_AND_ABORT } = RESERVE_OUT
const { REGISTRATIONS_PREEMPTED, RESERVATIONS_RELEASED } = ATTENTION
const CONFLICT = { kind: 'conflict' }
const NO_ACTION_KEY = { kind: 'failed', sense: SENSE.INVALID_FIELD_IN_PARAMETER_LIST, byte: 8, bit: -1 }

function preempted(outcome: Outcome): string[] {
  return outcome.kind === 'done' ? outcome.preempted.map(({ initiator }) => initiator.at(-1)!) : [outcome.kind]
}

/** A with key 1 holds a reservation; B has 2, C has 3. */
function held(type: number): ReservedUnit {
  return new ReservedUnit().register(A, 1).register(B, 2).register(C, 3).reserve(A, 1, type)
}

for (const [name, action] of Object.entries({ PREEMPT, PREEMPT_AND_ABORT })) {
  t.test(`${name} of the holder`, async (t) => {
    for (const old of [1, 3, 5, 6]) {
      for (const type of Object.values(RESERVATION_TYPE)) {
        const unit = held(old)
        const outcome = unit.out(B, action, type, outList({ key: 2, actionKey: 1 }))
        const expected: [string, number][] = [['a', REGISTRATIONS_PREEMPTED]]
        if (type !== old) expected.push(['c', RESERVATIONS_RELEASED])
        t.same(told(outcome), expected, `${old} to ${type}`)
        t.same(preempted(outcome), ['a'])
        t.equal(unit.keys, 'b2 c3')
        t.same(unit.state.persistent, { type, holder: type < 7 ? B : null })
        t.equal(unit.state.generation, 4)
      }
    }
  })

  t.test(`${name} of one that does not hold it`, async (t) => {
    const unit = held(RESERVATION_TYPE.EXCLUSIVE_ACCESS)
    const outcome = unit.out(B, action, 15, outList({ key: 2, actionKey: 3 }), 9)
    t.same(told(outcome), [['c', REGISTRATIONS_PREEMPTED]])
    t.same(preempted(outcome), ['c'])
    t.equal(unit.keys, 'a1 b2')
    t.same(unit.state.persistent, { type: 3, holder: A }, 'scope and type do not matter')
    t.equal(unit.state.generation, 4)
  })

  t.test(`${name} where nothing is reserved`, async (t) => {
    const unit = new ReservedUnit().register(A, 1).register(B, 2).register(C, 1)
    t.same(unit.out(B, action, 1, outList({ key: 2 })), NO_ACTION_KEY)
    t.same(unit.out(B, action, 1, outList({ key: 2, actionKey: 9 })), CONFLICT)
    t.same(told(unit.out(B, action, 1, outList({ key: 2, actionKey: 1 }))), [
      ['a', REGISTRATIONS_PREEMPTED],
      ['c', REGISTRATIONS_PREEMPTED],
    ])
    t.equal(unit.keys, 'b2')
    t.equal(unit.state.persistent, null)
  })

  t.test(`${name} by who may not`, async (t) => {
    const unit = new ReservedUnit().register(A, 1).reserve(A, 1, 1)
    const before = unit.state
    t.same(unit.out(B, action, 1, outList({ actionKey: 1 })), CONFLICT, 'not registered')
    t.same(unit.out(A, action, 1, outList({ key: 2, actionKey: 1 })), CONFLICT, 'a wrong key')
    t.same(unit.out(A, action, 1, outList({ key: 1 })), NO_ACTION_KEY)
    t.same(unit.out(A, action, 1, outList({ key: 1, actionKey: 5 })), CONFLICT, 'nobody has that key')
    t.same(unit.out(A, action, 2, outList({ key: 1, actionKey: 1 })), {
      kind: 'failed',
      sense: SENSE.INVALID_FIELD_IN_CDB,
      byte: 2,
      bit: 3,
    })
    t.match(unit.out(A, action, 1, outList({ key: 1, actionKey: 1 }), 1), { kind: 'failed', byte: 2, bit: 7 })
    t.same(unit.state, before)
  })

  t.test(`${name} of all where all hold it`, async (t) => {
    for (const type of Object.values(RESERVATION_TYPE)) {
      const unit = held(RESERVATION_TYPE.WRITE_EXCLUSIVE_ALL_REGISTRANTS)
      const outcome = unit.out(C, action, type, outList({ key: 3 }))
      t.same(told(outcome), [
        ['a', REGISTRATIONS_PREEMPTED],
        ['b', REGISTRATIONS_PREEMPTED],
      ])
      t.same(preempted(outcome), ['a', 'b', 'c'])
      t.equal(unit.keys, 'c3')
      t.same(unit.state.persistent, { type, holder: type < 7 ? C : null })
    }
  })

  t.test(`${name} of some where all hold it`, async (t) => {
    const type = RESERVATION_TYPE.EXCLUSIVE_ACCESS_ALL_REGISTRANTS
    const unit = held(type)
    const outcome = unit.out(C, action, 1, outList({ key: 3, actionKey: 1 }))
    t.same(told(outcome), [['a', REGISTRATIONS_PREEMPTED]])
    t.same(preempted(outcome), ['a'])
    t.equal(unit.keys, 'b2 c3')
    t.same(unit.state.persistent, { type, holder: null })
    t.same(unit.out(C, action, 1, outList({ key: 3, actionKey: 1 })), CONFLICT)
  })
}

t.test('a holder preempts itself, to change the type', async (t) => {
  const unit = held(RESERVATION_TYPE.WRITE_EXCLUSIVE)
  const outcome = unit.out(A, PREEMPT, RESERVATION_TYPE.EXCLUSIVE_ACCESS, outList({ key: 1, actionKey: 1 }))
  t.same(told(outcome), [
    ['b', RESERVATIONS_RELEASED],
    ['c', RESERVATIONS_RELEASED],
  ])
  t.same(preempted(outcome), ['a'])
  t.equal(unit.keys, 'a1 b2 c3')
  t.same(unit.state.persistent, { type: RESERVATION_TYPE.EXCLUSIVE_ACCESS, holder: A })
})

t.test('who has the key of the holder goes too, but for the sender', async (t) => {
  const unit = new ReservedUnit().register(A, 1).register(B, 1).register(C, 1).reserve(A, 1, 3)
  const outcome = unit.out(B, PREEMPT, 3, outList({ key: 1, actionKey: 1 }))
  t.same(told(outcome), [
    ['a', REGISTRATIONS_PREEMPTED],
    ['c', REGISTRATIONS_PREEMPTED],
  ])
  t.same(preempted(outcome), ['a', 'b', 'c'])
  t.equal(unit.keys, 'b1')
  t.same(unit.state.persistent, { type: 3, holder: B })
})

t.test('the sender may remove its own registration, and is not told', async (t) => {
  const unit = held(RESERVATION_TYPE.EXCLUSIVE_ACCESS)
  t.same(told(unit.out(B, PREEMPT, 1, outList({ key: 2, actionKey: 2 }))), [])
  t.equal(unit.keys, 'a1 c3')
})

t.test('a reservation of all registrants ends with the last of them', async (t) => {
  const type = RESERVATION_TYPE.WRITE_EXCLUSIVE_ALL_REGISTRANTS
  const unit = new ReservedUnit().register(A, 1).register(B, 1).reserve(A, 1, type)
  t.same(told(unit.out(B, PREEMPT, type, outList({ key: 1, actionKey: 1 }))), [['a', REGISTRATIONS_PREEMPTED]])
  t.equal(unit.keys, '')
  t.equal(unit.state.persistent, null)
})
