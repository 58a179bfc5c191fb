import t from 'tap'
import { ACCESS } from '../../../scsi/access.js'
import { accessOf, afterPowerLoss, NO_RESERVATIONS } from '../../../scsi/reservations/index.js'
import { A, B, C, ReservedUnit } from '../support/reservations.js'

const { WRITE_EXCLUSIVE, EXCLUSIVE_ACCESS, RESERVED } = ACCESS

t.test('access by type: of the holder, of a registrant, of one who is neither', async (t) => {
  for (const [type, registrant, other] of [
    [1, WRITE_EXCLUSIVE, WRITE_EXCLUSIVE],
    [3, EXCLUSIVE_ACCESS, EXCLUSIVE_ACCESS],
    [5, 0, WRITE_EXCLUSIVE],
    [6, 0, EXCLUSIVE_ACCESS],
    [7, 0, WRITE_EXCLUSIVE],
    [8, 0, EXCLUSIVE_ACCESS],
  ] as const) {
    const { state } = new ReservedUnit().register(A, 1).register(B, 2).reserve(A, 1, type)
    t.same(
      [A, B, C].map((nexus) => accessOf(state, nexus)),
      [0, registrant, other],
      `type ${type}`,
    )
  }
})

t.test('registrations alone keep nobody out', async (t) => {
  const { state } = new ReservedUnit().register(A, 1)
  t.equal(accessOf(state, B), 0)
})

t.test('what is reserved by RESERVE is for one', async (t) => {
  const state = { ...NO_RESERVATIONS, reserved: A }
  t.same(
    [A, B].map((nexus) => accessOf(state, nexus)),
    [0, RESERVED],
  )
})

t.test('the same initiator through another port is another nexus', async (t) => {
  const { state } = new ReservedUnit().register(A, 1).reserve(A, 1, 3)
  t.equal(accessOf(state, { ...A, port: 2 }), EXCLUSIVE_ACCESS)
})

t.test('a power loss', async (t) => {
  const { state } = new ReservedUnit().register(A, 1).reserve(A, 1, 3)
  t.same(afterPowerLoss(state), NO_RESERVATIONS)
  t.same(afterPowerLoss({ ...state, aptpl: true }), { ...state, aptpl: true, generation: 0 })
  t.same(afterPowerLoss({ ...NO_RESERVATIONS, aptpl: true, reserved: A }), { ...NO_RESERVATIONS, aptpl: true })
})
