import t from 'tap'
import { RateLimit } from '../../daemon/rate-limit.js'

t.test('a burst, then one in each interval, with the number held back', (t) => {
  let now = 1000
  const limit = new RateLimit(3, 100, () => now)
  const written: number[] = []
  const offer = (times: number) => {
    for (let i = 0; i < times; i++) limit.run((suppressed) => written.push(suppressed))
  }
  offer(5)
  t.strictSame(written.splice(0), [0, 0, 0], 'two of five held back')
  now += 99
  t.equal(
    limit.run(() => t.fail('too early')),
    false,
  )
  now += 1
  t.equal(
    limit.run((suppressed) => written.push(suppressed)),
    true,
  )
  t.strictSame(written.splice(0), [3])
  now += 250
  offer(4)
  t.strictSame(written.splice(0), [0, 0])
  now += 50
  offer(2)
  t.strictSame(written.splice(0), [2], 'a part of an interval is not lost')
  now += 1_000_000
  offer(10)
  t.strictSame(written.splice(0), [1, 0, 0], 'never more than the burst')
  t.end()
})

t.test('the real clock', (t) => {
  const limit = new RateLimit(1, 3_600_000)
  t.ok(limit.run(() => {}))
  t.notOk(limit.run(() => {}))
  t.end()
})
