import { drainEventfd } from 'memfd-mmap'
import t from 'tap'
import { DoorbellRows } from '../../iothreads/doorbells.js'
import { BELL, BELL_WORD } from '../../iothreads/messages.js'
import { CANCEL } from '../../iothreads/request.js'
import { endTurns, type GateTurn, gateTurn, type Passer, WriteGate } from '../../iothreads/write-gate.js'
import { createGate, stripesOf } from '../../iothreads/write-gate-memory.js'
import { ACTION } from '../../scsi/index.js'
import { times } from '../support/long.js'
import { Random } from '../support/random.js'

const MIB = 2 ** 20

class User implements Passer {
  readonly task: { action: number; offset: number; length: number }
  stripes = 0
  alone = false
  cancel: number = CANCEL.NONE
  constructor(action: number = ACTION.WRITE, offset = 0, length = 512) {
    this.task = { action, offset, length }
  }
}

interface Thread {
  readonly gate: WriteGate<User>
  readonly now: GateTurn
  /** In a turn of its own each. */
  admits(user: User): boolean
  leave(user: User): void
  /** Whether it was rung for since the last time. */
  rang(): boolean
  /** Runs the gate; who was let in. */
  run(): User[]
}

/** Several threads' sides of one gate, all of them here. */
function threads(t: { teardown(handler: () => void): void }, count: number, reads = false): Thread[] {
  const rows = new DoorbellRows()
  const memory = createGate()
  return Array.from({ length: count }, () => {
    const bell = rows.open()
    t.teardown(() => rows.close(bell))
    const words = rows.doorbells.words(bell.row)
    const now = gateTurn()
    const gate = new WriteGate<User>(memory, bell.row, rows.doorbells, reads, now)
    const turn = <T>(act: () => T): T => {
      const result = act()
      endTurns(now)
      return result
    }
    return {
      gate,
      now,
      admits: (user) => turn(() => gate.admits(user)),
      leave: (user) => turn(() => gate.leave(user)),
      rang: () => {
        const rang = Atomics.exchange(words, BELL_WORD.BELL, BELL.SILENT) === BELL.GATE
        if (rang !== drainEventfd(bell.fd) > 0) throw new Error('the word and the eventfd differ')
        return rang
      },
      run: () => {
        const admitted: User[] = []
        now.stirred = false
        turn(() => gate.run((user) => admitted.push(user)))
        return admitted
      },
    }
  })
}

const write = (offset = 0, length = 512): User => new User(ACTION.WRITE, offset, length)
const alone = (offset = 0, length = 512): User => new User(ACTION.COMPARE_AND_WRITE, offset, length)

t.test('what passes, with whom', async (t) => {
  for (const reads of [false, true]) {
    const [one, two] = threads(t, 2, reads)
    const holder = alone()
    t.ok(one!.admits(holder))
    t.match(holder, { stripes: 1, alone: true })
    const held = (action: number): boolean => {
      const user = new User(action)
      const passed = two!.admits(user)
      if (passed && user.stripes !== 0) t.fail('inside beside a holder')
      user.cancel = CANCEL.ABORTED
      two!.gate.endCancelled(() => {})
      return !passed
    }
    const { READ, COMPARE, VERIFY, PREFETCH, FLUSH, FIND_DATA, FIND_HOLE, FORWARD } = ACTION
    for (const action of [READ, COMPARE, VERIFY]) t.equal(held(action), reads)
    for (const action of [FLUSH, PREFETCH, FIND_DATA, FIND_HOLE, FORWARD]) t.equal(held(action), false)
    const { WRITE, DISCARD, WRITE_ZEROES, WRITE_PATTERN, COMPARE_AND_WRITE, OR_WRITE, WRITE_ATOMIC } = ACTION
    for (const action of [WRITE, DISCARD, WRITE_ZEROES, WRITE_PATTERN, COMPARE_AND_WRITE, OR_WRITE, WRITE_ATOMIC])
      t.equal(held(action), true)
    t.ok(two!.admits(write(MIB)), 'another stripe')
    one!.leave(holder)
    t.equal(holder.stripes, 0)
  }
})

t.test('writes pass one another; a taker waits until they have ended, and new ones wait for it', async (t) => {
  const [one, two, three] = threads(t, 3)
  const writes = [write(), write()]
  t.ok(one!.admits(writes[0]!) && one!.admits(writes[1]!))
  const taker = alone()
  t.notOk(two!.admits(taker))
  const late = [write(), write(0, 2 * MIB)]
  for (const each of late) t.notOk(three!.admits(each))
  t.ok(two!.rang(), 'it may have seen the turn in which they came')
  t.same(two!.run(), [])
  t.same([one!.gate.waiting, two!.gate.waiting, three!.gate.waiting], [0, 1, 2])
  one!.leave(writes[0]!)
  t.same([one!.rang(), two!.rang(), three!.rang()], [false, true, false], 'a turn has ended')
  t.same(two!.run(), [], 'but one write is still under way')
  one!.leave(writes[1]!)
  t.same([two!.rang(), three!.rang()], [true, false])
  t.same(two!.run(), [taker])
  t.same(three!.run(), [])
  two!.leave(taker)
  t.same([one!.rang(), two!.rang(), three!.rang()], [false, false, true])
  t.same(three!.run(), late, 'in order')
  t.same([one!.gate.waiting, two!.gate.waiting, three!.gate.waiting], [0, 0, 0])
})

t.test('in one thread', async (t) => {
  const [one] = threads(t, 1)
  const first = write()
  t.ok(one!.admits(first))
  const takers = [alone(), alone(0, 2 * MIB), alone(MIB)]
  for (const each of takers) t.notOk(one!.admits(each))
  const last = write()
  t.notOk(one!.admits(last))
  one!.leave(first)
  t.ok(one!.now.stirred)
  t.notOk(one!.rang(), 'nobody has to wake itself')
  t.same(one!.run(), [takers[0]])
  one!.leave(takers[0]!)
  t.same(one!.run(), [takers[1]])
  one!.leave(takers[1]!)
  t.same(one!.run(), [takers[2], last])
})

t.test('all of the stripes or none: who waits for two holds neither', async (t) => {
  const [one, two, three] = threads(t, 3)
  const holder = alone(MIB)
  t.ok(one!.admits(holder))
  const both = alone(0, 2 * MIB)
  t.notOk(two!.admits(both))
  t.ok(three!.admits(write()), 'nobody has taken that')
  one!.leave(holder)
  t.ok(two!.rang())
  t.same(two!.run(), [], 'it has taken both, and one is written to')
  t.notOk(three!.admits(write(MIB)))
})

t.test('who has waited longer comes first', async (t) => {
  const [one, two, three] = threads(t, 3)
  const holder = alone()
  t.ok(one!.admits(holder))
  const waiters = [alone(), alone()]
  t.notOk(two!.admits(waiters[0]!))
  t.notOk(three!.admits(waiters[1]!))
  one!.leave(holder)
  t.same([two!.rang(), three!.rang()], [true, true])
  const again = alone()
  t.notOk(one!.admits(again), 'gives way though nobody has it')
  t.same(three!.run(), [])
  t.same(two!.run(), [waiters[0]])
  two!.leave(waiters[0]!)
  t.same(one!.run(), [])
  t.same(three!.run(), [waiters[1]])
  three!.leave(waiters[1]!)
  t.ok(one!.rang())
  t.same(one!.run(), [again])
})

t.test('who gave way is woken when that for which it did has come and gone', async (t) => {
  const [one, two, three] = threads(t, 3)
  const holder = alone()
  t.ok(one!.admits(holder))
  const parked = write()
  t.notOk(two!.admits(parked))
  one!.leave(holder)
  const taker = alone()
  t.notOk(three!.admits(taker), 'gives way to the write')
  t.same(two!.run(), [parked])
  t.ok(three!.rang())
  t.same(three!.run(), [], 'now the write is under way')
  two!.leave(parked)
  t.ok(three!.rang())
  t.same(three!.run(), [taker])
})

t.test('what was cancelled goes at once, and gives back what it has taken', async (t) => {
  const [one, two, three] = threads(t, 3)
  const first = write()
  t.ok(one!.admits(first))
  const taker = alone()
  t.notOk(two!.admits(taker))
  const parked = [write(), write()]
  for (const each of parked) t.notOk(three!.admits(each))
  const ended: User[] = []
  two!.gate.endCancelled((user) => ended.push(user))
  t.same(ended, [])
  parked[0]!.cancel = CANCEL.RESET
  three!.gate.endCancelled((user) => ended.push(user))
  taker.cancel = CANCEL.ABORTED
  two!.gate.endCancelled((user) => ended.push(user))
  t.same(ended, [parked[0], taker])
  t.ok(three!.rang())
  t.same(three!.run(), [parked[1]])
  t.match([taker.stripes, parked[0]!.stripes], [0, 0])
  one!.leave(first)
  three!.leave(parked[1]!)
  t.ok(two!.admits(alone(0, 64 * MIB)), 'nothing is left behind')
})

// Threads take turns here at random, and ring for one another; nobody who is rung for is forgotten, and all of them get in at last. A
// plain model has who is inside.
t.test('any order of arrivals, ends, cancellations and wake-ups', async (t) => {
  const random = new Random(Number(process.env.VUS_SEED ?? 11))
  for (let round = 0; round < times(60); round++) {
    const all = threads(t, 1 + random.below(5))
    const inside: { thread: Thread; user: User; stripes: number }[] = []
    let waiting = 0
    let passed = 0
    const enter = (thread: Thread, user: User): void => {
      const stripes = stripesOf(user.task.offset, user.task.length)
      const isAlone = user.task.action === ACTION.COMPARE_AND_WRITE
      if (user.stripes !== stripes || user.alone !== isAlone) throw new Error('not what it asked for')
      const other = inside.find((each) => (each.stripes & stripes) !== 0 && (isAlone || each.user.alone))
      if (other !== undefined) throw new Error('it is not alone')
      inside.push({ thread, user, stripes })
      passed++
    }
    const wake = (thread: Thread): void => {
      // Only what was rung for, or stirred, is looked at: a lost wake-up would leave somebody behind.
      if (!thread.rang() && !thread.now.stirred) return
      for (const user of thread.run()) {
        waiting--
        enter(thread, user)
      }
    }
    const parked: User[] = []
    for (let step = 0; step < 400; step++) {
      const thread = random.pick(all)
      const what = random.below(10)
      if (what < 4) {
        const offset = random.below(4) * MIB
        const length = random.once(4) ? 2 * MIB : random.once(20) ? 40 * MIB : 512
        const user = random.once(2) ? alone(offset, length) : write(offset, length)
        if (thread.admits(user)) enter(thread, user)
        else {
          waiting++
          parked.push(user)
        }
      } else if (what < 7 && inside.length > 0) {
        const [{ thread: where, user }] = inside.splice(random.below(inside.length), 1) as [(typeof inside)[0]]
        where.leave(user)
      } else if (what === 7 && parked.length > 0 && random.once(3)) {
        const user = random.pick(parked)
        if (user.stripes === 0) user.cancel = CANCEL.ABORTED
        for (const each of all) each.gate.endCancelled(() => waiting--)
        for (const each of parked.splice(0)) if (each.cancel === CANCEL.NONE) parked.push(each)
      } else wake(thread)
    }
    for (let quiet = 0; quiet < all.length * 2; quiet++) {
      if (inside.length > 0) {
        const { thread, user } = inside.pop()!
        thread.leave(user)
        quiet = 0
      }
      for (const thread of all) wake(thread)
    }
    if (waiting !== 0) throw new Error(`${waiting} wait for ever, round ${round}`)
    if (passed === 0) throw new Error('nobody came in')
    const last = alone(0, 64 * MIB)
    if (!random.pick(all).admits(last)) throw new Error('something is left behind')
  }
  t.pass('all of them passed')
})
