import { Worker } from 'node:worker_threads'
import fc from 'fast-check'
import t from 'tap'
import { DirtyLog, LOG_PAGE, LoggedRange } from 'vhost-user-protocol-ts'
import { times } from '../../support/long.js'
import { type LogMarkerJob, MARKS_PER_PAGE } from '../../support/vhost/log-marker.js'

/** The pages whose bits are set, as vhost-user.rst has them: byte page / 8, bit page % 8. */
function dirty(buffer: ArrayBufferLike): number[] {
  const pages: number[] = []
  new Uint8Array(buffer).forEach((byte, i) => {
    for (let bit = 0; bit < 8; bit++) if ((byte & (1 << bit)) !== 0) pages.push(8 * i + bit)
  })
  return pages
}

t.test('the pages of a range', async (t) => {
  const cases: [address: number, length: number, pages: number[]][] = [
    [0, 1, [0]],
    [0, 0, []],
    [0, 4096, [0]],
    [4095, 1, [0]],
    [4095, 2, [0, 1]],
    [4096, 4096, [1]],
    [7 * 4096, 2 * 4096, [7, 8]],
    [31 * 4096 + 4095, 2, [31, 32]],
    [33 * 4096, 1, [33]],
    [63 * 4096, 4097, [63, 64]],
  ]
  for (const [address, length, pages] of cases) {
    const buffer = new SharedArrayBuffer(16)
    const log = new DirtyLog(buffer)
    t.equal(log.mark(address, length), true)
    t.same(dirty(buffer), pages, `${length} at ${address}`)
    t.equal(log.missed, 0)
  }
})

t.test('a range that is marked again and again', async (t) => {
  const buffer = new SharedArrayBuffer(8)
  const range = new LoggedRange(new DirtyLog(buffer), 2 * LOG_PAGE - 1, LOG_PAGE + 2)
  for (let i = 0; i < 3; i++) {
    range.mark()
    t.same(dirty(buffer), [1, 2, 3])
    new Uint8Array(buffer).fill(0)
  }
})

t.test('what is beyond the log is told', async (t) => {
  const buffer = new SharedArrayBuffer(8)
  const log = new DirtyLog(buffer)
  t.equal(log.pages, 64)
  t.equal(log.mark(63 * LOG_PAGE, LOG_PAGE), true)
  t.equal(log.mark(64 * LOG_PAGE, 1), false)
  t.equal(log.mark(2 ** 53 - 2, 1), false)
  t.same(dirty(buffer), [63])
  t.equal(log.mark(62 * LOG_PAGE, 3 * LOG_PAGE), false, 'the part that is within is marked')
  t.same(dirty(buffer), [62, 63])
  t.equal(log.mark(10 * LOG_PAGE, 2 ** 52), false)
  t.equal(log.missed, 4)
  t.same(
    dirty(buffer),
    [...Array(54).keys()].map((page) => page + 10),
  )
  const none = new DirtyLog(new SharedArrayBuffer(3))
  t.equal(none.pages, 0)
  t.equal(none.mark(0, 1), false)
  t.equal(none.mark(0, 0), true)
})

t.test('addresses that have more than 32 bits', async (t) => {
  const page = 2 ** 33 / LOG_PAGE + 5
  const buffer = new SharedArrayBuffer(page / 8 + 8 - ((page / 8) % 4))
  new DirtyLog(buffer).mark(page * LOG_PAGE + 17, 1)
  t.same(dirty(buffer), [page])
})

t.test('the same as page by page', async (t) => {
  const pages = 256
  const end = (pages + 4) * LOG_PAGE
  const range = fc.tuple(fc.nat(end), fc.oneof(fc.nat(3), fc.nat(3 * LOG_PAGE), fc.nat(end)))
  fc.assert(
    fc.property(fc.array(range, { maxLength: 6 }), (ranges) => {
      const buffer = new SharedArrayBuffer(pages / 8)
      const log = new DirtyLog(buffer)
      const expected = new Set<number>()
      let missed = 0
      for (const [address, length] of ranges) {
        let within = true
        for (let byte = address; byte < address + length; byte += LOG_PAGE - (byte % LOG_PAGE)) {
          if (byte < pages * LOG_PAGE) expected.add(Math.floor(byte / LOG_PAGE))
          else within = false
        }
        if (!within) missed++
        if (log.mark(address, length) !== within) t.fail(`${length} at ${address}`)
      }
      t.strictSame(
        dirty(buffer),
        [...expected].sort((a, b) => a - b),
      )
      t.equal(log.missed, missed)
    }),
    { numRuns: times(300) },
  )
})

t.test('bits are set by Atomics.or alone, one for each word, with no look before', async (t) => {
  const buffer = new SharedArrayBuffer(64)
  const RealArray = globalThis.Int32Array
  const { or, load } = Atomics
  const words = new RealArray(buffer)
  const touched: [word: number, bits: number][] = []
  const element = (key: string | symbol): boolean => typeof key === 'string' && /^[0-9]+$/.test(key)
  const view = new Proxy(words, {
    get: (target, key) => {
      if (element(key)) t.fail(`word ${String(key)} is read`)
      return Reflect.get(target, key, target)
    },
    set: (_, key) => t.fail(`word ${String(key)} is written`),
  })
  t.teardown(() => Object.assign(globalThis, { Int32Array: RealArray }))
  t.teardown(() => Object.assign(Atomics, { or, load }))
  Object.assign(globalThis, { Int32Array: new Proxy(RealArray, { construct: () => view }) })
  Object.assign(Atomics, {
    load: () => t.fail('a word is read'),
    or: (array: Int32Array, word: number, bits: number): number => {
      t.equal(array, view)
      touched.push([word, bits >>> 0])
      return or(words, word, bits)
    },
  })
  const log = new DirtyLog(buffer)
  log.mark(3 * LOG_PAGE, 1)
  log.mark(3 * LOG_PAGE, 1)
  log.mark(30 * LOG_PAGE, 70 * LOG_PAGE)
  t.same(touched, [
    [0, 8],
    [0, 8],
    [0, 0xc000_0000],
    [1, 0xffff_ffff],
    [2, 0xffff_ffff],
    [3, 0xf],
  ])
})

t.test('no mark is lost among several threads, and one that collects and clears', async (t) => {
  const pages = times(2 ** 16)
  const log = new SharedArrayBuffer(pages / 8)
  const written = new SharedArrayBuffer(4 * pages)
  const progress = new SharedArrayBuffer(8)
  const threads = [0, 1].map((thread) => {
    const workerData: LogMarkerJob = { log, written, progress, thread, pages }
    const worker = new Worker(new URL('../../support/vhost/log-marker.js', import.meta.url), { workerData })
    return new Promise<void>((resolve, reject) => {
      worker.once('error', reject)
      worker.once('exit', () => resolve())
    })
  })
  // A page's content is the number of writes to it. It is copied after its bit was found and cleared.
  const content = new Int32Array(written)
  const bits = new Int32Array(log)
  const copied = new Int32Array(pages)
  let copies = 0
  const collect = (word: number): void => {
    const found = Atomics.exchange(bits, word, 0)
    for (let bit = 0; found !== 0 && bit < 32; bit++) {
      if ((found & (1 << bit)) === 0) continue
      copied[32 * word + bit] = Atomics.load(content, 32 * word + bit)
      copies++
    }
  }
  const steps = new Int32Array(progress)
  for (let round = 0; steps[0]! < pages / 2 || steps[1]! < pages / 2; round++) {
    // Where they are at work, and so is this.
    for (const thread of [0, 1]) collect(Math.min(Atomics.load(steps, thread) >> 4, bits.length - 1))
    if (round % 1024 === 0) await new Promise(setImmediate)
  }
  await Promise.all(threads)
  const early = copies
  for (let word = 0; word < bits.length; word++) collect(word)
  t.ok(
    content.every((writes) => writes === MARKS_PER_PAGE),
    'all was written',
  )
  t.strictSame(
    [...content.keys()].filter((page) => copied[page] !== content[page]),
    [],
    'the last write to each page was copied',
  )
  t.ok(copies >= pages, `${copies} copies of ${pages} pages, ${early} of them meanwhile`)
})
