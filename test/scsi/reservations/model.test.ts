// Random sequences of service actions from three nexuses, against a plain model of SPC-4 5.13.
import fc from 'fast-check'
import t from 'tap'
import { ACCESS } from '../../../scsi/access.js'
import { accessOf, RESERVE_OUT, reservationsFrom } from '../../../scsi/reservations/index.js'
import { releaseUnit, reserveUnit } from '../../../scsi/reservations/reserve-release.js'
import { times } from '../../support/long.js'
import { moveList, NEXUSES, outList, ReservedUnit } from '../support/reservations.js'

/** Keys by nexus number; 0: not registered. The holder is a nexus number, or null where all are. */
interface Model {
  readonly keys: number[]
  reservation: { type: number; holder: number | null } | undefined
  reserved: number | undefined
}

interface Step {
  readonly who: number
  readonly action: number
  readonly key: number
  readonly actionKey: number
  readonly type: number
  readonly to: number
  readonly unregister: boolean
}

const RESERVE_UNIT = 100
const RELEASE_UNIT = 101
const ALL = [7, 8]

const holds = (model: Model, who: number): boolean =>
  model.reservation !== undefined &&
  (model.reservation.holder === null ? model.keys[who] !== 0 : model.reservation.holder === who)

/** Takes registrations away; a reservation that nobody holds any more goes with them. */
function drop(model: Model, gone: readonly number[]): void {
  for (const who of gone) model.keys[who] = 0
  const reservation = model.reservation
  if (reservation === undefined) return
  const stays = reservation.holder === null ? model.keys.some((key) => key !== 0) : model.keys[reservation.holder] !== 0
  if (!stays) model.reservation = undefined
}

const having = (model: Model, key: number): number[] =>
  model.keys.flatMap((each, who) => (each === key && key !== 0 ? [who] : []))

/** What a step comes to: its kind, and the model is as it leaves the unit. */
function model(m: Model, { who, action, key, actionKey, type, to, unregister }: Step): string {
  const registered = m.keys.some((each) => each !== 0)
  const through = holds(m, who) || (m.reservation !== undefined && m.reservation.type >= 5 && m.keys[who] !== 0)
  if (action === RESERVE_UNIT || action === RELEASE_UNIT) {
    if (registered) return through ? 'done' : 'conflict'
    if (action === RELEASE_UNIT) {
      if (m.reserved === who) m.reserved = undefined
      return 'done'
    }
    if (m.reserved !== undefined && m.reserved !== who) return 'conflict'
    m.reserved = who
    return 'done'
  }
  if (m.reserved !== undefined) return 'conflict'
  const registers = action === RESERVE_OUT.REGISTER || action === RESERVE_OUT.REGISTER_AND_IGNORE_EXISTING_KEY
  if (action !== RESERVE_OUT.REGISTER_AND_IGNORE_EXISTING_KEY && m.keys[who] !== key) return 'conflict'
  if (registers) {
    if (actionKey === 0) drop(m, [who])
    else m.keys[who] = actionKey
    return 'done'
  }
  if (m.keys[who] === 0) return 'conflict'
  const valid = [1, 3, 5, 6, 7, 8].includes(type)
  const make = () => ({ type, holder: ALL.includes(type) ? null : who })
  switch (action) {
    case RESERVE_OUT.RESERVE:
      if (!valid) return 'failed'
      if (m.reservation === undefined) m.reservation = make()
      else if (!holds(m, who) || m.reservation.type !== type) return 'conflict'
      return 'done'
    case RESERVE_OUT.RELEASE:
      if (!holds(m, who)) return 'done'
      if (m.reservation!.type !== type) return 'failed'
      m.reservation = undefined
      return 'done'
    case RESERVE_OUT.CLEAR:
      drop(m, [0, 1, 2])
      return 'done'
    case RESERVE_OUT.REGISTER_AND_MOVE:
      if (m.reservation === undefined) return 'failed'
      if (m.reservation.holder !== who) return 'conflict'
      if (actionKey === 0 || to === who) return 'failed'
      m.keys[to] = actionKey
      m.reservation = { type: m.reservation.type, holder: to }
      if (unregister) m.keys[who] = 0
      return 'done'
    default: {
      const all = m.reservation !== undefined && m.reservation.holder === null
      if (actionKey === 0 && !all) return 'failed'
      const holder = m.reservation?.holder
      const preempts = all ? actionKey === 0 : holder != null && m.keys[holder] === actionKey
      if (preempts) {
        if (!valid) return 'failed'
        const gone = actionKey === 0 ? [0, 1, 2] : having(m, actionKey)
        for (const each of gone) if (each !== who) m.keys[each] = 0
        m.reservation = make()
        return 'done'
      }
      const gone = having(m, actionKey)
      if (gone.length === 0) return 'conflict'
      drop(m, gone)
      return 'done'
    }
  }
}

/** What each nexus may do, by the model: its access word. */
function accessByModel(m: Model, who: number): number {
  if (m.reserved !== undefined) return m.reserved === who ? 0 : ACCESS.RESERVED
  if (m.reservation === undefined || holds(m, who)) return 0
  if (m.reservation.type >= 5 && m.keys[who] !== 0) return 0
  return [1, 5, 7].includes(m.reservation.type) ? ACCESS.WRITE_EXCLUSIVE : ACCESS.EXCLUSIVE_ACCESS
}

function apply(unit: ReservedUnit, { who, action, key, actionKey, type, to, unregister }: Step): string {
  const nexus = NEXUSES[who]!
  if (action === RESERVE_UNIT || action === RELEASE_UNIT) {
    const outcome = (action === RESERVE_UNIT ? reserveUnit : releaseUnit)(unit.state, nexus)
    if (outcome.kind === 'done') unit.state = outcome.reservations
    return outcome.kind
  }
  const isMove = action === RESERVE_OUT.REGISTER_AND_MOVE
  const list = isMove ? moveList({ key, actionKey, to: NEXUSES[to]!, unregister }) : outList({ key, actionKey })
  return unit.out(nexus, action, type, list).kind
}

const steps = fc.array(
  fc.record({
    who: fc.nat(2),
    action: fc.constantFrom(...Object.values(RESERVE_OUT), RESERVE_OUT.REGISTER, RESERVE_UNIT, RELEASE_UNIT),
    // Few keys, so that they match.
    key: fc.nat(2),
    actionKey: fc.nat(2),
    type: fc.constantFrom(1, 3, 5, 6, 7, 8, 2),
    to: fc.nat(2),
    unregister: fc.boolean(),
  }),
  { maxLength: 40 },
)

t.test('the unit does as the model', async (t) => {
  const kinds = new Map<string, number>()
  fc.assert(
    fc.property(steps, fc.boolean(), (sequence, keysMatch) => {
      const unit = new ReservedUnit()
      const m: Model = { keys: [0, 0, 0], reservation: undefined, reserved: undefined }
      for (const given of sequence) {
        // Most commands have the key that they need, else nothing gets anywhere.
        const step = keysMatch ? { ...given, key: m.keys[given.who]! } : given
        const generation = unit.state.generation
        const expected = model(m, step)
        const kind = apply(unit, step)
        kinds.set(kind, (kinds.get(kind) ?? 0) + 1)
        if (kind !== expected) throw new Error(`${JSON.stringify(step)}: ${kind}, not ${expected}`)
        const { registrants, persistent, reserved } = unit.state
        NEXUSES.forEach((nexus, who) => {
          const key = registrants.find((each) => each.initiator === nexus.initiator)?.key
          if (Number.parseInt(key ?? '0', 16) !== m.keys[who]) throw new Error(`${JSON.stringify(step)}: key of ${who}`)
          if (accessOf(unit.state, nexus) !== accessByModel(m, who)) throw new Error(`access of ${who}`)
        })
        if (persistent?.type !== m.reservation?.type) throw new Error(`${JSON.stringify(step)}: type`)
        if (reserved !== null && registrants.length > 0) throw new Error('both kinds at once')
        if (kind !== 'done' && unit.state.generation !== generation) throw new Error('generation of a failure')
        if (reservationsFrom(unit.state) === undefined) throw new Error('a state that could not be kept')
      }
    }),
    { numRuns: times(3000) },
  )
  for (const kind of ['done', 'conflict', 'failed']) t.ok(kinds.get(kind)! > 100, `${kinds.get(kind)} ${kind}`)
})
