import t from 'tap'
import { AdaptivePolling } from '../../iothreads/adaptive-polling.js'

/** Waits one after another, and the polling time after each. */
function times(polling: AdaptivePolling, waits: readonly number[]): number[] {
  return waits.map((wait) => {
    polling.waited(wait)
    return polling.time
  })
}

t.test('transitions', async (t) => {
  const cases: { name: string; options: [number, number, number]; waits: number[]; expected: number[] }[] = [
    { name: 'off: never polls', options: [0, 0, 0], waits: [0, 1, 4000, 1e9], expected: [0, 0, 0, 0] },
    { name: 'a wait of no time teaches nothing', options: [32768, 0, 0], waits: [0, 0], expected: [0, 0] },
    {
      name: 'doubles up to the limit while waits are within it',
      options: [32768, 0, 0],
      waits: [1000, 5000, 9000, 17000, 32768, 32768],
      expected: [4000, 8000, 16000, 32000, 32768, 32768],
    },
    {
      name: 'stays where polling catches the wait',
      options: [32768, 0, 0],
      waits: [5000, 5000, 8000, 8000, 100],
      expected: [4000, 8000, 8000, 8000, 8000],
    },
    {
      name: 'back to nothing after a wait beyond the limit',
      options: [32768, 0, 0],
      waits: [5000, 6000, 32769, 1e9, 5000],
      expected: [4000, 8000, 0, 0, 4000],
    },
    {
      name: 'by a given factor and divisor',
      options: [100_000, 3, 4],
      waits: [50_000, 50_000, 50_000, 1e6, 1e6, 1e6, 1e6, 1e6, 1e6, 1e6, 1e6],
      expected: [4000, 12000, 36000, 9000, 2250, 562, 140, 35, 8, 2, 0],
    },
    {
      name: 'a limit below the first step',
      options: [1500, 0, 0],
      waits: [1000, 1500, 1501],
      expected: [1500, 1500, 0],
    },
    { name: 'the limit itself is within it', options: [4000, 0, 0], waits: [4000, 4000], expected: [4000, 4000] },
    {
      name: 'a divisor of 1 never shrinks',
      options: [1e9, 0, 1],
      waits: [1e9, 1e10],
      expected: [4000, 4000],
    },
  ]
  for (const { name, options, waits, expected } of cases) {
    t.strictSame(times(new AdaptivePolling(...options), waits), expected, name)
  }
})

t.test('a wait in vain teaches nothing within the limit, and as much as any beyond it', async (t) => {
  const polling = new AdaptivePolling(32768, 0, 0)
  t.strictSame(times(polling, [5000, 5000]), [4000, 8000])
  polling.waitedInVain(10_000)
  t.equal(polling.time, 8000)
  polling.waitedInVain(32768)
  t.equal(polling.time, 8000)
  polling.waitedInVain(32769)
  t.equal(polling.time, 0)
  const slowly = new AdaptivePolling(32768, 0, 4)
  t.strictSame(times(slowly, [5000, 5000]), [4000, 8000])
  slowly.waitedInVain(1e9)
  t.equal(slowly.time, 2000)
  const off = new AdaptivePolling(0, 0, 0)
  off.waitedInVain(1e9)
  t.equal(off.time, 0)
})

t.test('never beyond the limit, whatever comes', async (t) => {
  for (const [max, grow, shrink] of [
    [32768, 0, 0],
    [10_000, 7, 3],
    [1, 2, 2],
  ] as const) {
    const polling = new AdaptivePolling(max, grow, shrink)
    let seed = 1
    for (let i = 0; i < 10_000; i++) {
      seed = (Math.imul(seed, 1103515245) + 12345) >>> 0
      polling.waited(seed % (3 * max))
      if (!(polling.time >= 0 && polling.time <= max && Number.isInteger(polling.time))) t.fail(`${polling.time}`)
    }
  }
})
