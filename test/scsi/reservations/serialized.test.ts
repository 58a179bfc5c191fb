import t from 'tap'
import { NO_RESERVATIONS, type Reservations, reservationsFrom } from '../../../scsi/reservations/index.js'
import { A, B, key, ReservedUnit } from '../support/reservations.js'

const read = (state: unknown): Reservations | undefined => reservationsFrom(JSON.parse(JSON.stringify(state)))

t.test('what was written is read', async (t) => {
  const states: Reservations[] = [
    NO_RESERVATIONS,
    { ...NO_RESERVATIONS, reserved: B, generation: 0xffffffff },
    { ...new ReservedUnit().register(A, 1).register(B, 2).state, aptpl: true },
  ]
  for (const type of [1, 3, 5, 6, 7, 8]) {
    states.push(new ReservedUnit().register(B, 2).register(A, 1).reserve(A, 1, type).state)
  }
  for (const state of states) t.same(read(state), state)
})

t.test('what could not be is not', async (t) => {
  const good = new ReservedUnit().register(A, 1).register(B, 2).reserve(A, 1, 1).state
  t.ok(read(good))
  const registrant = { ...A, key: key(1) }
  const bad: [string, unknown][] = [
    ['nothing', null],
    ['text', 'x'],
    ['no members', {}],
    ['generation', { ...good, generation: -1 }],
    ['generation', { ...good, generation: 2 ** 32 }],
    ['generation', { ...good, generation: '1' }],
    ['aptpl', { ...good, aptpl: 1 }],
    ['registrants', { ...good, registrants: {} }],
    ['a registrant', { ...good, registrants: [null], persistent: null }],
    ['initiator', { ...good, registrants: [{ ...registrant, initiator: 'X' }], persistent: null }],
    ['initiator', { ...good, registrants: [{ ...registrant, initiator: 3 }], persistent: null }],
    ['port', { ...good, registrants: [{ ...registrant, port: 0 }], persistent: null }],
    ['port', { ...good, registrants: [{ ...registrant, port: 65536 }], persistent: null }],
    ['key', { ...good, registrants: [{ ...registrant, key: '1' }], persistent: null }],
    ['key', { ...good, registrants: [{ ...registrant, key: key(0) }], persistent: null }],
    ['twice', { ...good, registrants: [registrant, { ...registrant, key: key(2) }], persistent: null }],
    ['too many', { ...good, registrants: Array(513).fill(registrant), persistent: null }],
    ['type', { ...good, persistent: { type: 2, holder: A } }],
    ['no type', { ...good, persistent: { holder: A } }],
    ['no holder', { ...good, persistent: { type: 1, holder: null } }],
    ['a holder that is not registered', { ...good, persistent: { type: 1, holder: { ...A, port: 9 } } }],
    ['one holder of what all hold', { ...good, persistent: { type: 7, holder: A } }],
    ['nobody registered', { ...good, registrants: [], persistent: { type: 7, holder: null } }],
    ['persistent', { ...good, persistent: 7 }],
    ['reserved', { ...NO_RESERVATIONS, reserved: 'A' }],
    ['reserved while registered', { ...good, reserved: A }],
  ]
  for (const [why, state] of bad) t.equal(read(state), undefined, why)
})

t.test('only what is known is taken over', async (t) => {
  const { registrants, ...rest } = new ReservedUnit().register(A, 1).state
  const more = { ...rest, registrants: registrants.map((each) => ({ ...each, x: 1 })), y: 2 }
  t.same(read(more), { ...rest, registrants })
})
