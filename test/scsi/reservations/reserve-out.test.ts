import t from 'tap'
import { NO_RESERVATIONS, RESERVE_OUT } from '../../../scsi/reservations/index.js'
import { SENSE } from '../../../scsi/sense.js'
import { A, B, moveList, outList, ReservedUnit } from '../support/reservations.js'

const { REGISTER, REGISTER_AND_MOVE } = RESERVE_OUT
const ACTIONS = Object.values(RESERVE_OUT)
const CONFLICT = { kind: 'conflict' }
const LENGTH_ERROR = { kind: 'failed', sense: SENSE.PARAMETER_LIST_LENGTH_ERROR, byte: -1, bit: -1 }

t.test('a parameter list has 24 bytes', async (t) => {
  for (const action of ACTIONS) {
    const unit = new ReservedUnit().register(A, 1).reserve(A, 1, 1)
    const before = unit.state
    for (const length of [25, 28, 48]) {
      const list = new Uint8Array(length)
      list.set(outList({ key: 1, actionKey: 2 }))
      if (action !== REGISTER_AND_MOVE) t.same(unit.out(A, action, 1, list), LENGTH_ERROR, `${action}: ${length}`)
    }
    t.equal(unit.state, before)
  }
})

t.test('who is not registered', async (t) => {
  for (const action of ACTIONS) {
    const unit = new ReservedUnit().register(B, 2)
    const list = action === REGISTER_AND_MOVE ? moveList({ actionKey: 1, to: B }) : outList({ actionKey: 1 })
    const registers = action === REGISTER || action === RESERVE_OUT.REGISTER_AND_IGNORE_EXISTING_KEY
    t.equal(unit.out(A, action, 1, list).kind, registers ? 'done' : 'conflict', `${action}`)
  }
})

t.test('SPEC_I_PT is for REGISTER', async (t) => {
  for (const action of ACTIONS) {
    if (action === REGISTER || action === REGISTER_AND_MOVE) continue
    const unit = new ReservedUnit().register(A, 1)
    const list = outList({ key: 1, actionKey: 1, initiators: [B.initiator] })
    const invalid = { kind: 'failed', sense: SENSE.INVALID_FIELD_IN_PARAMETER_LIST, byte: 20, bit: 3 }
    t.same(unit.out(A, action, 1, list), invalid, `${action}`)
    t.same(unit.out(A, action, 1, list.subarray(0, 24)), invalid, `${action}`)
  }
})

t.test('what is reserved by RESERVE conflicts with everything', async (t) => {
  for (const nexus of [A, B]) {
    for (const action of ACTIONS) {
      const unit = new ReservedUnit()
      unit.state = { ...NO_RESERVATIONS, reserved: A }
      const list = action === REGISTER_AND_MOVE ? moveList({ actionKey: 1, to: B }) : outList({ actionKey: 1 })
      t.same(unit.out(nexus, action, 1, list), CONFLICT)
    }
  }
})

t.test('other service actions there are not', async (t) => {
  const unit = new ReservedUnit().register(A, 1)
  const invalid = { kind: 'failed', sense: SENSE.INVALID_FIELD_IN_CDB, byte: 1, bit: 4 }
  for (let action = 8; action < 32; action++) t.same(unit.out(A, action, 1, outList({ key: 1 })), invalid)
})
