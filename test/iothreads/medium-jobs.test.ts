import { ERRNO } from 'memfd-mmap'
import t from 'tap'
import { BOUNCE_BYTES, BouncePool } from '../../iothreads/bounce-pool.js'
import type { MediumJob } from '../../iothreads/medium-job.js'
import { MediumJobs } from '../../iothreads/medium-jobs.js'
import type { Medium } from '../../iothreads/messages.js'
import { JOB_SLOT, SLOT_BITS, SLOT_MASK } from '../../iothreads/request-table.js'
import { FakeDriver } from '../support/iothreads/fake-driver.js'
import type { Teardown } from '../support/teardown.js'

const SIZE = 3 * BOUNCE_BYTES
const DISK: Medium = { kind: 'memory', fd: 1, address: 0 }
const OTHER: Medium = { kind: 'memory', fd: 2, address: 0 }

interface Bench {
  jobs: MediumJobs
  disk: FakeDriver
  other: FakeDriver
  /** Ids and results in the order in which jobs end. */
  ended: [number, number][]
}

function bench(t: Teardown): Bench {
  const pool = new BouncePool()
  const disk = new FakeDriver(SIZE)
  const other = new FakeDriver(SIZE)
  const ended: [number, number][] = []
  const jobs = new MediumJobs({
    driver: (medium) => (medium === DISK ? disk : other),
    pool,
    ended: (id, result) => ended.push([id, result]),
  })
  t.teardown(() => {
    jobs.release()
    pool.release()
  })
  return { jobs, disk, other, ended }
}

const zero: MediumJob = { type: 'zero', medium: DISK, offset: 512, length: 1024, deallocate: true }

t.test('jobs that end at once', async (t) => {
  const { jobs, disk, other, ended } = bench(t)
  disk.bytes.fill(1)
  other.bytes.set([5, 6, 7, 8], 100)
  jobs.start(1, zero)
  jobs.start(2, { type: 'fill', medium: DISK, offset: 4096, length: 5, pattern: Uint8Array.of(1, 2) })
  jobs.start(3, { type: 'copy', medium: DISK, offset: 8192, length: 4, source: OTHER, sourceOffset: 100 })
  jobs.start(4, { type: 'flush', medium: DISK, offset: 0, length: 0 })
  t.same(ended, [
    [1, 0],
    [2, 5],
    [3, 4],
    [4, 0],
  ])
  t.ok(jobs.idle)
  const expected = new Uint8Array(SIZE).fill(1)
  expected.fill(0, 512, 1536)
  expected.set([1, 2, 1, 2, 1], 4096)
  expected.set([5, 6, 7, 8], 8192)
  t.equal(Buffer.compare(disk.bytes, expected), 0)
  t.same(
    disk.calls.filter(({ sync }) => sync),
    [],
  )
  t.equal(disk.calls.at(-1)!.operation, 'flush')
})

t.test('jobs that end later, one that waits for its turn, and failures', async (t) => {
  const { jobs, disk, ended } = bench(t)
  disk.pending = true
  disk.failures.set(3, ERRNO.ENOSPC)
  for (let id = 0; id < 40; id++) jobs.start(id, zero)
  t.equal(disk.waiting, 16)
  t.notOk(jobs.idle)
  t.throws(() => jobs.release(), 'not while they run')
  const ids = new Set<number>()
  while (disk.waiting > 0) {
    const { request, result } = disk.finish()
    ids.add(request.id & SLOT_MASK)
    t.equal(request.id >>> SLOT_BITS, JOB_SLOT)
    jobs.completed(request.slot, result)
  }
  t.equal(ids.size, 16)
  t.same(
    ended,
    Array.from({ length: 40 }, (_, id) => [id, id === 3 ? -ERRNO.ENOSPC : 0]),
  )
  t.ok(jobs.idle)
})

t.test('what cannot be deallocated is written', async (t) => {
  const { jobs, disk, ended } = bench(t)
  disk.bytes.fill(1)
  disk.deallocates = false
  jobs.start(1, zero)
  t.match(ended, [[1, 1024]])
  t.equal(disk.bytes.indexOf(0), 512)
  t.equal(disk.bytes.lastIndexOf(0), 1535)
})
