// The I/O path allocates nothing on the JavaScript heap: by V8's own account of a process with an IOThread under load.
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { GC_TRACE_ARG, GcTrace } from '../bench/gc-trace.js'
import { Child } from '../support/child.js'
import { LONG, rounds } from '../support/iothreads/rounds.js'

/** MiB of the smallest young generation: what may be allocated before V8 says anything. */
const YOUNG = 1
/** Without a collection less than a young generation was allocated: so this tells one small object from none. */
const REQUESTS = rounds(500_000)
const MOST = 1
/**
 * On a machine that is busy the code may not be compiled yet when the measurement begins, and something else may be what a collection
 * comes from: then so many more requests are looked at that one collection is none for each of them.
 */
const ATTEMPTS = [1, 8, 8, 16]

t.setTimeout(600_000)

interface Report {
  readonly from: number
  readonly to: number
  readonly requests: number
}

async function measure(t: Test, args: readonly string[]): Promise<number> {
  const program = join(import.meta.dirname, '../support/iothreads/steady-load.js')
  const flags = [GC_TRACE_ARG, `--max-semi-space-size=${YOUNG}`]
  const child = new Child(t, 'steady-load', process.execPath, [...flags, program, ...args])
  const trace = new GcTrace(child.process.stdout!)
  const { code } = await child.ended(rounds(120_000))
  if (code !== 0) throw new Error(`steady-load ended with ${code}\n${child.report()}`)
  const { from, to, requests } = JSON.parse(child.stderr) as Report
  const { bytesPerSecond, collections } = trace.rate(from, to)
  const bytes = (bytesPerSecond * (to - from)) / 1000 / requests
  t.comment(`${requests} requests in ${to - from} ms: ${collections} collections, ${bytes.toFixed(3)} bytes each`)
  return bytes
}

/** The least that attempts have, until one has little enough. */
async function leastOf(attempt: (requests: number) => Promise<number>): Promise<number> {
  let least = Number.POSITIVE_INFINITY
  for (const times of ATTEMPTS) {
    least = Math.min(least, await attempt(times * REQUESTS))
    if (least < MOST) break
  }
  return least
}

const cases: [medium: string, engine: string, size: number, depth: number][] = [
  ['null', 'io_uring', 2 ** 41, 32],
  ['zero', 'io_uring', 2 ** 41, 32],
  ['file', 'io_uring', 2 ** 24, 32],
  ['memory', 'io_uring', 2 ** 24, 32],
]
const logged: typeof cases = [
  ['null', 'io_uring', 2 ** 41, 32],
  ['file', 'io_uring', 2 ** 24, 32],
]
if (LONG) cases.push(['null', 'io_uring', 2 ** 24, 1], ['tmpfs', 'epoll', 2 ** 24, 32], ['memory', 'epoll', 2 ** 24, 4])

for (const [[medium, engine, size, depth], log] of [
  ...cases.map((each) => [each, 'no log'] as const),
  ...logged.map((each) => [each, 'log'] as const),
]) {
  t.test(`${medium} of ${size / 2 ** 20} MiB, ${engine}, ${depth} in flight, ${log}`, { timeout: 0 }, async (t) => {
    const least = await leastOf((requests) =>
      measure(t, [medium, engine, String(requests), String(size), String(depth), 'low', log]),
    )
    t.ok(least < MOST, `${least} bytes for each request`)
  })
}

t.test('what is in flight is noted', { timeout: 0 }, async (t) => {
  const least = await leastOf((requests) =>
    measure(t, ['null', 'io_uring', String(requests), String(2 ** 41), '32', 'low', 'no log', 'noted']),
  )
  t.ok(least < MOST, `${least} bytes for each request`)
})

t.test('the measure of the measure: one heap number for each request', { timeout: 0 }, async (t) => {
  // An address of 2^31 or more, handed to memcpy.
  const bytes = await measure(t, ['memory', 'io_uring', String(REQUESTS), String(2 ** 24), '32', 'high'])
  // 16 of them; what was allocated before the first collection of the time measured, and after its last one, is not seen.
  t.ok(bytes > 2 * MOST, `${bytes} bytes for each request`)
})
