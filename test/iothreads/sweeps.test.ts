import t from 'tap'
import { CANCEL, type CancelWaiter, type Request } from '../../iothreads/request.js'
import { matches, Sweeps } from '../../iothreads/sweeps.js'

const request = (tagLow: number, tagHigh = 0, target = 0, lun = 0) => ({ target, lun, tagLow, tagHigh }) as Request
const waiting = (): CancelWaiter => ({ count: 0, remaining: 0 })
const ALL = { target: 0, lun: 0, tag: null }

t.test('a function is for a unit, and for a tag or all', async (t) => {
  t.ok(matches(request(1), ALL))
  t.notOk(matches(request(1, 0, 1), ALL))
  t.notOk(matches(request(1, 0, 0, 1), ALL))
  t.ok(matches(request(1, 2), { ...ALL, tag: [1, 2] }))
  t.notOk(matches(request(1, 3), { ...ALL, tag: [1, 2] }))
  t.notOk(matches(request(2, 2), { ...ALL, tag: [1, 2] }))
})

t.test('a sweep is for the chains that were there when it came', async (t) => {
  const sweeps = new Sweeps()
  t.notOk(sweeps.active)
  const waiter = waiting()
  sweeps.add(ALL, CANCEL.RESET, waiter, 3)
  t.ok(sweeps.active)
  t.equal(sweeps.match(request(1), 1), CANCEL.RESET)
  sweeps.passed(2)
  t.equal(waiter.remaining, 1)
  t.equal(sweeps.match(request(2), 1), CANCEL.RESET, 'the third')
  t.equal(sweeps.match(request(3), 2), undefined, 'came later')
  sweeps.passed(1)
  t.same(waiter, { count: 2, remaining: 0 })
  t.notOk(sweeps.active)
})

t.test('of several the first one that came counts', async (t) => {
  const sweeps = new Sweeps()
  const [one, all] = [waiting(), waiting()]
  sweeps.add({ ...ALL, tag: [7, 0] }, CANCEL.ABORTED, one, 2)
  sweeps.add(ALL, CANCEL.RESET, all, 4)
  t.equal(sweeps.match(request(7), 1), CANCEL.ABORTED)
  t.equal(sweeps.match(request(8), 2), CANCEL.RESET)
  sweeps.passed(2)
  t.same([one.remaining, all.remaining], [0, 1])
  t.equal(sweeps.match(request(7), 1), CANCEL.RESET, 'the first is through')
  t.same([one.count, all.count], [1, 2])
})

t.test('a ring that ends is not waited for', async (t) => {
  const sweeps = new Sweeps()
  const [short, long] = [waiting(), waiting()]
  sweeps.add(ALL, CANCEL.RESET, short, 2)
  sweeps.add(ALL, CANCEL.RESET, long, 9)
  sweeps.end(2)
  t.same([short.remaining, long.remaining], [1, 1], 'two are still to come')
  sweeps.passed(2)
  t.same([short.remaining, long.remaining], [0, 0])
  sweeps.add(ALL, CANCEL.RESET, short, 5)
  sweeps.end(0)
  t.equal(short.remaining, 0)
  t.notOk(sweeps.active)
})
