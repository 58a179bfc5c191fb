import t from 'tap'
import { placement } from './placement.js'

t.test('CPUs of the two ends', async (t) => {
  const cases: [number[], number, ReturnType<typeof placement>][] = [
    [[0], 1, { frontEnd: null, backEnd: null, enough: false }],
    [[0, 1], 1, { frontEnd: 1, backEnd: [0], enough: true }],
    [[0, 1], 2, { frontEnd: 1, backEnd: [0], enough: false }],
    [[0, 1], 4, { frontEnd: 1, backEnd: [0], enough: false }],
    [[4, 6, 7], 2, { frontEnd: 6, backEnd: [4, 7], enough: true }],
    [[0, 1, 2, 3, 4, 5], 4, { frontEnd: 1, backEnd: [0, 2, 3, 4], enough: true }],
    [[0, 1, 2, 3, 4, 5], 1, { frontEnd: 1, backEnd: [0], enough: true }],
  ]
  for (const [cpus, iothreads, expected] of cases) t.strictSame(placement(cpus, iothreads), expected, `${cpus}`)
})
