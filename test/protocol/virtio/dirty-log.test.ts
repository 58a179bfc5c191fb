import { Worker } from 'node:worker_threads'
import fc from 'fast-check'
import t from 'tap'
import { DirtyLog, LOG_PAGE } from 'vhost-user-protocol-ts'
import { times } from '../../support/long.js'
import type { LogMarkerJob } from '../../support/vhost/log-marker.js'

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

t.test('no mark is lost among several threads, and one that collects and clears', async (t) => {
  const words = 4
  const pages = 32 * words
  const log = new SharedArrayBuffer(4 * words)
  const written = new SharedArrayBuffer(4 * 2 * pages)
  const control = new SharedArrayBuffer(4)
  const marks = times(50_000)
  const threads = [0, 1].map((thread) => {
    const workerData: LogMarkerJob = { log, written, control, thread, pages, marks }
    const worker = new Worker(new URL('../../support/vhost/log-marker.js', import.meta.url), { workerData })
    return new Promise<void>((resolve, reject) => {
      worker.once('error', reject)
      worker.once('exit', () => resolve())
    })
  })
  // A page's counter is what migrates: it is read after its bit was found and cleared.
  const counters = new Int32Array(written)
  const bits = new Int32Array(log)
  const copied = new Int32Array(2 * pages)
  const collect = (): void => {
    for (let word = 0; word < words; word++) {
      const found = Atomics.exchange(bits, word, 0)
      for (let bit = 0; bit < 32; bit++) {
        if ((found & (1 << bit)) === 0) continue
        const page = 32 * word + bit
        copied[2 * page] = Atomics.load(counters, 2 * page)
        copied[2 * page + 1] = Atomics.load(counters, 2 * page + 1)
      }
    }
  }
  const running = new Int32Array(control)
  let rounds = 0
  while (Atomics.load(running, 0) < 2) {
    collect()
    if (++rounds % 64 === 0) await new Promise(setImmediate)
  }
  await Promise.all(threads)
  collect()
  t.same([...copied], [...counters], 'the last write to each page was copied')
  t.ok(counters.reduce((sum, count) => sum + count, 0) === 2 * marks, `${rounds} rounds`)
})
