import t from 'tap'
import { isPolling, isScaling, median, ROW_SETS, selectCases, spread } from './row.js'

const names = (cases: readonly object[]): string[] => cases.map((c) => JSON.stringify({ ...c, quick: undefined }))

t.test('each row once, in the order of the sets', async (t) => {
  const all = selectCases(['basic', 'scaling', 'polling', 'rings'], undefined, false)
  t.strictSame(new Set(names(all)).size, all.length)
  const parts = [...ROW_SETS.basic, ...ROW_SETS.scaling, ...ROW_SETS.polling, ...ROW_SETS.rings]
  t.strictSame(new Set(names(all)), new Set(names(parts)))
  t.ok(all.length < parts.length, 'some serve twice')
  t.strictSame(names(all.slice(0, ROW_SETS.basic.length)), names(ROW_SETS.basic))
  t.strictSame(selectCases([], undefined, false), [])
})

t.test('what the tables show is what their sets have', async (t) => {
  const all = selectCases(['basic', 'scaling', 'polling', 'rings'], undefined, false)
  t.strictSame(new Set(names(all.filter(isScaling))), new Set(names(ROW_SETS.scaling)))
  const polling = names(all.filter(isPolling))
  for (const name of names(ROW_SETS.polling)) t.ok(polling.includes(name), name)
})

t.test('each queue has the same whole number of requests, and each LUN its first row with 1 IOThread', async (t) => {
  for (const c of selectCases(['basic', 'scaling', 'polling', 'rings'], undefined, false)) t.equal(c.qd % c.queues, 0)
  for (const quick of [false, true]) {
    const seen = new Set<string>()
    for (const c of selectCases(['scaling'], undefined, quick)) {
      const group = `${c.lun} ${c.qd}`
      t.equal(c.iothreads === 1, !seen.has(group), group)
      seen.add(group)
    }
    t.ok(seen.size > 0)
  }
})

t.test('a quick run, some LUNs', async (t) => {
  const quick = selectCases(['basic', 'scaling', 'polling'], undefined, true)
  t.ok(quick.length >= 8 && quick.length <= 12, `${quick.length} rows`)
  t.ok(quick.every((c) => c.quick))
  for (const set of ['basic', 'scaling', 'polling', 'rings'] as const)
    t.ok(selectCases([set], undefined, true).length > 0)
  const files = selectCases(['basic', 'scaling'], ['file'], false)
  t.ok(files.length > 0 && files.every((c) => c.lun === 'file'))
})

t.test('median and spread', async (t) => {
  t.equal(median([3, 1, 2]), 2)
  t.equal(median([4, 1, 2, 3]), 2.5)
  t.equal(median([10, 9]), 9.5)
  t.equal(spread([10, 9, 11]), 0.2)
})
