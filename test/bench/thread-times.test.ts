import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gettid } from 'memfd-mmap'
import t from 'tap'
import { tempDir } from '../support/temp-dir.js'
import { threadTimes, threadUse } from './thread-times.js'

function writeThread(proc: string, tid: number, name: string, schedstat: string): void {
  const dir = join(proc, '7', 'task', String(tid))
  mkdirSync(dir, { recursive: true })
  writeFileSync(join(dir, 'comm'), `${name}\n`)
  writeFileSync(join(dir, 'schedstat'), `${schedstat}\n`)
}

t.test('what threads took between two looks', async (t) => {
  const proc = tempDir(t)
  writeThread(proc, 7, 'node', '1000000000 5 10')
  writeThread(proc, 8, 'io0', '2000000000 5 100')
  writeThread(proc, 9, 'io1', '3000000000 5 200')
  const before = threadTimes(7, proc)
  t.strictSame(before.get(8), { name: 'io0', ns: 2e9, slices: 100 })
  t.strictSame([...before.keys()].sort(), [7, 8, 9])
  writeThread(proc, 7, 'node', '1500000000 5 20')
  writeThread(proc, 8, 'io0', '4000000000 5 130')
  rmSync(join(proc, '7', 'task', '9'), { recursive: true })
  writeThread(proc, 10, 'iou-wrk-8', '250000000 5 4')
  const after = threadTimes(7, proc)
  t.strictSame(threadUse(before, after, 2), { cpu: 1.375, slicesPerSecond: 22 })
  t.strictSame(
    threadUse(before, after, 2, (name) => /^io\d$/.test(name)),
    { cpu: 1, slicesPerSecond: 15 },
  )
  t.strictSame(
    threadUse(before, after, 2, () => false),
    { cpu: 0, slicesPerSecond: 0 },
  )
})

t.test('a thread that has ended since its name was read is left out', async (t) => {
  const proc = tempDir(t)
  writeThread(proc, 7, 'node', '1 2 3')
  mkdirSync(join(proc, '7', 'task', '8'))
  t.strictSame([...threadTimes(7, proc).keys()], [7])
  t.throws(() => threadTimes(6, proc), { code: 'ENOENT' })
})

t.test('a real process', async (t) => {
  const before = threadTimes(process.pid).get(gettid())
  t.ok(before !== undefined && before.ns > 0 && before.slices > 0)
  const end = performance.now() + 10_000
  while (threadTimes(process.pid).get(gettid())!.ns <= before!.ns) {
    if (performance.now() > end) throw new Error('the counter stands still')
  }
})
