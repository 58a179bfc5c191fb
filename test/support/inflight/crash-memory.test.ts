import t from 'tap'
import { Random } from '../random.js'
import { CrashMemory, Killed } from './crash-memory.js'

const buffer = new ArrayBuffer(16)
const other = new ArrayBuffer(16)
const memory = new CrashMemory([buffer])
const bytes = new Uint8Array(buffer)

/** Runs `stores` once for each place to be killed at: what is left each time. */
function prefixes(stores: (view: Uint8Array) => void): string[] {
  const left: string[] = []
  for (let killAt = 1; ; killAt++) {
    bytes.fill(0)
    memory.settle()
    memory.killAt = memory.steps + killAt
    let killed = false
    try {
      memory.run(() => stores(new Uint8Array(buffer, 0, 4)))
    } catch (error) {
      killed = error instanceof Killed
    }
    left.push(bytes.slice(0, 4).join(''))
    if (!killed) return left
  }
}

/** All that weak kills after `stores` may leave. */
function remains(stores: (view: Uint8Array) => void): string[] {
  const random = new Random(1)
  const left = new Set<string>()
  for (let i = 0; i < 2000; i++) {
    bytes.fill(0)
    memory.settle()
    memory.killAt = 0
    memory.run(() => stores(new Uint8Array(buffer, 0, 4)))
    memory.weaken(random)
    left.add(bytes.slice(0, 4).join(''))
  }
  return [...left].sort()
}

t.test('killed before each store', async (t) => {
  const stores = (view: Uint8Array): void => {
    view[0] = 1
    Atomics.store(view, 1, 2)
    new Uint8Array(other)[0] = 9
    new Uint16Array(buffer, 2)[0] = 0x0304
    Atomics.load(view, 0)
    view.fill(5)
  }
  t.same(prefixes(stores), ['0000', '1000', '1200', '1243', '5243', '5543', '5553', '5555'])
  t.equal(new Uint8Array(other)[0], 9)
})

t.test('the real things are there when it is not armed', async (t) => {
  memory.killAt = memory.steps + 1
  const view = new Uint8Array(buffer)
  view[0] = 1
  Atomics.store(view, 1, 2)
  t.same([bytes[0], Atomics.load(view, 1)], [1, 2])
})

t.test('what a weak kill may leave', async (t) => {
  const cases: [what: string, stores: (view: Uint8Array) => void, expected: string[]][] = [
    [
      'plain stores in any order',
      (view) => {
        view[0] = 1
        view[1] = 1
      },
      ['0000', '0100', '1000', '1100'],
    ],
    [
      'stores to one place in theirs',
      (view) => {
        view[0] = 1
        view[0] = 2
      },
      ['0000', '1000', '2000'],
    ],
    [
      'a plain store before an atomic one',
      (view) => {
        view[0] = 1
        Atomics.store(view, 1, 1)
      },
      ['0000', '1000', '1100'],
    ],
    [
      'a plain store after an atomic one, which it may pass',
      (view) => {
        Atomics.store(view, 0, 1)
        view[1] = 1
      },
      ['0000', '0100', '1000', '1100'],
    ],
    [
      'with a load between it may not',
      (view) => {
        Atomics.store(view, 0, 1)
        Atomics.load(view, 0)
        view[1] = 1
      },
      ['0000', '1000', '1100'],
    ],
    [
      'a load holds no plain store before it',
      (view) => {
        view[0] = 1
        Atomics.load(view, 0)
        view[1] = 1
      },
      ['0000', '0100', '1000', '1100'],
    ],
    [
      'atomic stores in their order',
      (view) => {
        Atomics.store(view, 0, 1)
        Atomics.store(view, 1, 1)
      },
      ['0000', '1000', '1100'],
    ],
  ]
  for (const [what, stores, expected] of cases) t.same(remains(stores), expected, what)
})
