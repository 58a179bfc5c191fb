import t from 'tap'
import { RESERVATION_TYPE, RESERVE_OUT } from '../../../scsi/reservations/index.js'
import { MAX_REGISTRANTS } from '../../../scsi/reservations/state.js'
import { SENSE } from '../../../scsi/sense.js'
import { ATTENTION } from '../../../scsi/unit-attention.js'
import { A, B, C, key, outList, ReservedUnit, told } from '../support/reservations.js'

const { REGISTER, REGISTER_AND_IGNORE_EXISTING_KEY: IGNORE, RESERVE } = RESERVE_OUT
const CONFLICT = { kind: 'conflict' }
const invalid = (byte: number, bit = -1) => ({
  kind: 'failed',
  sense: SENSE.INVALID_FIELD_IN_PARAMETER_LIST,
  byte,
  bit,
})

t.test('REGISTER by table 67', async (t) => {
  const unit = new ReservedUnit()
  const register = (fields: object) => unit.out(A, REGISTER, 0, outList(fields))
  t.match(register({}), { kind: 'done' }, 'nothing to do')
  t.equal(unit.keys, '')
  t.same(register({ key: 5, actionKey: 1 }), CONFLICT, 'not registered, yet there is a key')
  t.same(register({ key: 5 }), CONFLICT)
  t.match(register({ actionKey: 1 }), { kind: 'done' })
  t.equal(unit.keys, 'a1')
  t.same(register({ actionKey: 2 }), CONFLICT, 'registered, yet there is no key')
  t.same(register({ key: 2, actionKey: 2 }), CONFLICT)
  t.match(register({ key: 1, actionKey: 2 }), { kind: 'done' })
  t.equal(unit.keys, 'a2')
  t.same(register({ key: 2, actionKey: 3, initiators: [] }), invalid(20, 3))
  t.same(register({ key: 2, initiators: [] }), invalid(20, 3))
  t.match(register({ key: 2 }), { kind: 'done' })
  t.equal(unit.keys, '')
})

t.test('REGISTER AND IGNORE EXISTING KEY by table 68', async (t) => {
  const unit = new ReservedUnit()
  const register = (fields: object) => unit.out(A, IGNORE, 0, outList({ key: 77, ...fields }))
  t.match(register({}), { kind: 'done' })
  t.equal(unit.keys, '')
  t.match(register({ actionKey: 1 }), { kind: 'done' })
  t.equal(unit.keys, 'a1')
  t.match(register({ actionKey: 2 }), { kind: 'done' })
  t.equal(unit.keys, 'a2')
  t.same(register({ actionKey: 3, initiators: [] }), invalid(20, 3))
  t.match(register({}), { kind: 'done' })
  t.equal(unit.keys, '')
})

t.test('each counts as a generation, unless it fails', async (t) => {
  const unit = new ReservedUnit()
  unit.out(A, REGISTER, 0, outList({}))
  t.equal(unit.state.generation, 1, 'also one that changes nothing')
  unit.out(A, REGISTER, 0, outList({ actionKey: 1 }))
  unit.out(A, IGNORE, 0, outList({ actionKey: 2 }))
  t.equal(unit.state.generation, 3)
  unit.out(A, REGISTER, 0, outList({ key: 9, actionKey: 2 }))
  unit.out(A, RESERVE, RESERVATION_TYPE.WRITE_EXCLUSIVE, outList({ key: 2 }))
  t.equal(unit.state.generation, 3)
  unit.state = { ...unit.state, generation: 0xffffffff }
  unit.out(A, IGNORE, 0, outList({ actionKey: 2 }))
  t.equal(unit.state.generation, 0)
})

t.test('a registration touches no other, and no reservation', async (t) => {
  const unit = new ReservedUnit().register(A, 1).register(B, 1).reserve(A, 1, RESERVATION_TYPE.EXCLUSIVE_ACCESS)
  t.match(unit.out(A, REGISTER, 0, outList({ key: 1, actionKey: 4 })), { kind: 'done', notices: [] })
  t.equal(unit.keys, 'a4 b1')
  t.same(unit.state.persistent, { type: RESERVATION_TYPE.EXCLUSIVE_ACCESS, holder: A })
})

t.test('a holder that leaves releases the reservation; registrants are told where it was theirs too', async (t) => {
  for (const [type, notices] of [
    [RESERVATION_TYPE.WRITE_EXCLUSIVE, []],
    [RESERVATION_TYPE.EXCLUSIVE_ACCESS, []],
    [RESERVATION_TYPE.WRITE_EXCLUSIVE_REGISTRANTS_ONLY, ['b', 'c']],
    [RESERVATION_TYPE.EXCLUSIVE_ACCESS_REGISTRANTS_ONLY, ['b', 'c']],
  ] as const) {
    const unit = new ReservedUnit().register(A, 1).register(B, 2).register(C, 3).reserve(A, 1, type)
    const outcome = unit.out(A, REGISTER, 0, outList({ key: 1 }))
    t.same(
      told(outcome),
      notices.map((who) => [who, ATTENTION.RESERVATIONS_RELEASED]),
    )
    t.equal(unit.state.persistent, null)
    t.equal(unit.keys, 'b2 c3')
  }
})

t.test('one that does not hold it leaves it', async (t) => {
  const type = RESERVATION_TYPE.WRITE_EXCLUSIVE_REGISTRANTS_ONLY
  const unit = new ReservedUnit().register(A, 1).register(B, 2).reserve(A, 1, type)
  t.match(unit.out(B, REGISTER, 0, outList({ key: 2 })), { kind: 'done', notices: [] })
  t.same(unit.state.persistent, { type, holder: A })
})

t.test('a reservation of all registrants lasts until the last one leaves', async (t) => {
  const type = RESERVATION_TYPE.EXCLUSIVE_ACCESS_ALL_REGISTRANTS
  const unit = new ReservedUnit().register(A, 1).register(B, 2).reserve(A, 1, type)
  t.match(unit.out(A, REGISTER, 0, outList({ key: 1 })), { kind: 'done', notices: [] })
  t.same(unit.state.persistent, { type, holder: null })
  t.match(unit.out(B, IGNORE, 0, outList({})), { kind: 'done', notices: [] })
  t.equal(unit.state.persistent, null)
})

t.test('SPEC_I_PT registers the initiator ports that are listed as well', async (t) => {
  const unit = new ReservedUnit()
  const list = outList({ actionKey: 7, initiators: [B.initiator, C.initiator, B.initiator, A.initiator] })
  t.match(unit.out(A, REGISTER, 0, list), { kind: 'done' })
  t.same(unit.state.registrants, [
    { ...A, key: key(7) },
    { initiator: B.initiator, port: 1, key: key(7) },
    { initiator: C.initiator, port: 1, key: key(7) },
  ])
  t.equal(unit.state.generation, 1)
})

t.test('all of them or none', async (t) => {
  const unit = new ReservedUnit().register(B, 1)
  unit.state = { ...unit.state, registrants: [{ initiator: B.initiator, port: 1, key: key(1) }] }
  const before = unit.state
  const list = outList({ actionKey: 7, initiators: [C.initiator, B.initiator] })
  t.same(unit.out(A, REGISTER, 0, list), invalid(28))
  t.same(unit.state, before)
})

t.test('TransportIDs that cannot be', async (t) => {
  const unit = new ReservedUnit()
  const good = outList({ actionKey: 7, initiators: [B.initiator, C.initiator] })
  const changed = (change: (list: Uint8Array) => Uint8Array | undefined) => {
    const list = good.slice()
    return unit.out(A, REGISTER, 0, change(list) ?? list)
  }
  const length = { kind: 'failed', sense: SENSE.PARAMETER_LIST_LENGTH_ERROR, byte: -1, bit: -1 }
  t.same(
    changed((list) => list.subarray(0, 24)),
    length,
  )
  t.same(
    changed((list) => list.subarray(0, 27)),
    length,
  )
  t.same(
    changed((list) => list.subarray(0, 75)),
    length,
  )
  const lengthIs = (bytes: number) => (list: Uint8Array) => {
    list.set([0, 0, 0, bytes], 24)
    return undefined
  }
  t.same(changed(lengthIs(49)), length)
  t.same(
    changed((list) => {
      list.set([0xff, 0xff, 0xff, 0xff], 24)
      return undefined
    }),
    length,
  )
  t.same(changed(lengthIs(47)), invalid(24), 'cut short')
  t.same(
    changed((list) => {
      list[52] = 0x45
      return undefined
    }),
    invalid(52),
    'of iSCSI',
  )
  t.equal(unit.keys, '')
  t.match(changed(lengthIs(24)), { kind: 'done' }, 'what follows the list does not matter')
  t.equal(unit.keys, 'a7 b7')
})

t.test('ALL_TG_PT registers at each target port', async (t) => {
  const unit = new ReservedUnit()
  t.match(unit.out(B, REGISTER, 0, outList({ actionKey: 1, allTargetPorts: true })), { kind: 'done' })
  const at = (port: number, value: number) => ({ initiator: B.initiator, port, key: key(value) })
  t.same(unit.state.registrants, [at(1, 1), at(2, 1), at(3, 1)])
  t.match(unit.out(B, REGISTER, 0, outList({ key: 1, actionKey: 2, allTargetPorts: true })), { kind: 'done' })
  t.same(unit.state.registrants, [at(1, 2), at(2, 2), at(3, 2)])
  t.match(unit.out(B, REGISTER, 0, outList({ key: 2, actionKey: 3 })), { kind: 'done' })
  t.same(unit.state.registrants, [at(1, 2), at(2, 3), at(3, 2)])
  t.same(
    unit.out(B, REGISTER, 0, outList({ key: 3, actionKey: 4, allTargetPorts: true })),
    CONFLICT,
    'at another port it would be one',
  )
  t.same(unit.state.registrants, [at(1, 2), at(2, 3), at(3, 2)])
  t.match(unit.out(B, IGNORE, 0, outList({ allTargetPorts: true })), { kind: 'done' })
  t.same(unit.state.registrants, [])
})

t.test('both at once', async (t) => {
  const unit = new ReservedUnit()
  unit.ports = [1, 2]
  const list = outList({ actionKey: 1, allTargetPorts: true, initiators: [C.initiator] })
  t.match(unit.out(A, REGISTER, 0, list), { kind: 'done' })
  t.same(
    unit.state.registrants.map(({ initiator, port }) => `${initiator.at(-1)}${port}`),
    ['a1', 'a2', 'c1', 'c2'],
  )
})

t.test('APTPL: the last one counts', async (t) => {
  const unit = new ReservedUnit()
  unit.out(A, REGISTER, 0, outList({ actionKey: 1, aptpl: true }))
  t.equal(unit.state.aptpl, true)
  unit.out(A, RESERVE, RESERVATION_TYPE.WRITE_EXCLUSIVE, outList({ key: 1 }))
  t.equal(unit.state.aptpl, true, 'RESERVE has none')
  unit.out(B, IGNORE, 0, outList({ actionKey: 1 }))
  t.equal(unit.state.aptpl, false)
})

t.test('APTPL where nothing can be kept', async (t) => {
  const unit = new ReservedUnit()
  unit.persistent = false
  t.same(unit.out(A, REGISTER, 0, outList({ actionKey: 1, aptpl: true })), invalid(20, 0))
  t.same(unit.out(A, IGNORE, 0, outList({ actionKey: 1, aptpl: true })), invalid(20, 0))
  t.equal(unit.keys, '')
})

t.test('there is an end to registrations', async (t) => {
  const unit = new ReservedUnit()
  const initiators = Array.from({ length: MAX_REGISTRANTS }, (_, i) => (i + 0x1000).toString(16).padStart(16, '3'))
  const full = { kind: 'failed', sense: SENSE.INSUFFICIENT_REGISTRATION_RESOURCES, byte: -1, bit: -1 }
  t.same(unit.out(A, REGISTER, 0, outList({ actionKey: 1, initiators })), full)
  t.equal(unit.state.registrants.length, 0)
  t.match(unit.out(A, REGISTER, 0, outList({ actionKey: 1, initiators: initiators.slice(1) })), { kind: 'done' })
  t.equal(unit.state.registrants.length, MAX_REGISTRANTS)
  t.same(unit.out(B, REGISTER, 0, outList({ actionKey: 1 })), full)
  t.match(unit.out(A, REGISTER, 0, outList({ key: 1, actionKey: 2 })), { kind: 'done' }, 'not a new one')
})
