import t from 'tap'
import { DeadlineError, eventually, reported, within } from './deadline.js'

const never = new Promise<never>(() => {})

t.test('within', async (t) => {
  t.equal(await within(1000, 'a value', Promise.resolve(5)), 5)
  await t.rejects(within(1000, 'a failure', Promise.reject(new Error('why'))), { message: 'why' })
  await t.rejects(within(10, 'the end', never), { message: 'the end: not within 10 ms', code: 'VUS_TEST_DEADLINE' })
})

t.test('eventually', async (t) => {
  let asked = 0
  t.equal(await eventually(1000, 'three', () => (++asked === 3 ? 'three' : undefined)), 'three')
  t.equal(asked, 3)
  await t.rejects(
    eventually(10, 'nothing', () => undefined),
    DeadlineError,
  )
  await t.rejects(
    eventually(1000, 'a failure', () => Promise.reject(new Error('why'))),
    { message: 'why' },
  )
})

t.test('reported', async (t) => {
  t.equal(await reported(Promise.resolve(1), () => 'unused'), 1)
  await t.rejects(
    reported(Promise.reject(new Error('why')), () => 'the console'),
    { message: 'why', report: 'the console' },
  )
})
