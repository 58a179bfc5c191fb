import t from 'tap'
import { type ItNexus, NO_RESERVATIONS, type Reservations } from '../../../scsi/reservations/index.js'
import { releaseUnit, reserveUnit, withoutReserve } from '../../../scsi/reservations/reserve-release.js'
import { A, B, C, ReservedUnit } from '../support/reservations.js'

const CONFLICT = { kind: 'conflict' }
const good = (reservations: Reservations) => ({ kind: 'done', reservations, notices: [], preempted: [] })
const reservedBy = (nexus: ItNexus) => ({ ...NO_RESERVATIONS, reserved: nexus })

t.test('RESERVE', async (t) => {
  t.same(reserveUnit(NO_RESERVATIONS, A), good(reservedBy(A)))
  t.same(reserveUnit(reservedBy(A), A), good(reservedBy(A)), 'again')
  t.same(reserveUnit(reservedBy(A), B), CONFLICT)
})

t.test('RELEASE is GOOD for everybody, and does something for who has reserved', async (t) => {
  t.same(releaseUnit(NO_RESERVATIONS, A), good(NO_RESERVATIONS))
  t.same(releaseUnit(reservedBy(A), B), good(reservedBy(A)))
  t.same(releaseUnit(reservedBy(A), A), good(NO_RESERVATIONS))
})

t.test('while somebody is registered they conflict, or mean nothing (CRH)', async (t) => {
  const registered = new ReservedUnit().register(A, 1).register(B, 2)
  for (const nexus of [A, B, C]) {
    t.same(reserveUnit(registered.state, nexus), CONFLICT)
    t.same(releaseUnit(registered.state, nexus), CONFLICT)
  }
  for (const type of [1, 3, 5, 6, 7, 8]) {
    const unit = new ReservedUnit().register(A, 1).register(B, 2).reserve(A, 1, type)
    for (const [nexus, isGood] of [
      [A, true],
      [B, type >= 5],
      [C, false],
    ] as const) {
      const expected = isGood ? good(unit.state) : CONFLICT
      t.same(reserveUnit(unit.state, nexus), expected, `${type}`)
      t.same(releaseUnit(unit.state, nexus), expected, `${type}`)
    }
  }
})

t.test('what was reserved is free when its nexus is lost', async (t) => {
  t.same(withoutReserve(reservedBy(A), A), NO_RESERVATIONS)
  t.same(withoutReserve(reservedBy(A)), NO_RESERVATIONS)
  const other = reservedBy(A)
  t.equal(withoutReserve(other, B), other)
  t.equal(withoutReserve(NO_RESERVATIONS), NO_RESERVATIONS)
  const persistent = new ReservedUnit().register(A, 1).reserve(A, 1, 1).state
  t.equal(withoutReserve(persistent, A), persistent, 'persistent ones stay')
})
