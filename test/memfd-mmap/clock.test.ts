import { clockMonotonicNs } from 'memfd-mmap'
import t from 'tap'

t.test('it is CLOCK_MONOTONIC in nanoseconds', async (t) => {
  const before = process.hrtime.bigint()
  const now = clockMonotonicNs()
  const after = process.hrtime.bigint()
  t.ok(BigInt(now) >= before && BigInt(now) <= after, `${before} <= ${now} <= ${after}`)
})

t.test('it never goes back', async (t) => {
  let last = clockMonotonicNs()
  let backwards = 0
  for (let i = 0; i < 100_000; i++) {
    const now = clockMonotonicNs()
    if (now < last) backwards++
    last = now
  }
  t.equal(backwards, 0)
  t.ok(Number.isSafeInteger(last))
})
