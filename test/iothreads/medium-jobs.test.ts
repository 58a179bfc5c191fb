import { ERRNO } from 'memfd-mmap'
import t from 'tap'
import { BOUNCE_BYTES, BouncePool } from '../../iothreads/bounce-pool.js'
import { DoorbellRows } from '../../iothreads/doorbells.js'
import type { MediumJob } from '../../iothreads/medium-job.js'
import { MediumJobs } from '../../iothreads/medium-jobs.js'
import type { Medium } from '../../iothreads/messages.js'
import { CANCEL, type Request } from '../../iothreads/request.js'
import { JOB_SLOT, SLOT_BITS, SLOT_MASK } from '../../iothreads/request-table.js'
import { gateTurn, WriteGate } from '../../iothreads/write-gate.js'
import { createGate } from '../../iothreads/write-gate-memory.js'
import { WriteGates } from '../../iothreads/write-gates.js'
import { FakeDriver } from '../support/iothreads/fake-driver.js'
import type { Teardown } from '../support/teardown.js'

const SIZE = 3 * BOUNCE_BYTES
const DISK: Medium = { kind: 'memory', fd: 1, address: 0 }
const OTHER: Medium = { kind: 'memory', fd: 2, address: 0 }

interface Bench {
  jobs: MediumJobs
  disk: FakeDriver
  other: FakeDriver
  gates: WriteGates<Request>
  /** The disk's gate, as another thread has it. */
  elsewhere: WriteGate
  /** Ids and results in the order in which jobs end. */
  ended: [number, number][]
}

const gate = { memory: createGate(), reads: false }
const on = { medium: DISK, gate }

function bench(t: Teardown): Bench {
  const pool = new BouncePool()
  const disk = new FakeDriver(SIZE)
  const other = new FakeDriver(SIZE)
  const ended: [number, number][] = []
  const rows = new DoorbellRows()
  const [here, there] = [rows.open(), rows.open()]
  const gates = new WriteGates<Request>(rows.doorbells, here.row, (request) => jobs.admitted(request.slot))
  const jobs: MediumJobs = new MediumJobs({
    driver: (medium) => (medium === DISK ? disk : other),
    pool,
    gates,
    ended: (id, result) => ended.push([id, result]),
  })
  t.teardown(() => {
    gates.run()
    jobs.release()
    pool.release()
    rows.close(here)
    rows.close(there)
  })
  const elsewhere = new WriteGate(gate.memory, there.row, rows.doorbells, false, gateTurn())
  return { jobs, disk, other, gates, elsewhere, ended }
}

const zero: MediumJob = { ...on, type: 'zero', offset: 512, length: 1024, deallocate: true }

t.test('jobs that end at once', async (t) => {
  const { jobs, disk, other, ended } = bench(t)
  disk.bytes.fill(1)
  other.bytes.set([5, 6, 7, 8], 100)
  jobs.start(1, zero)
  jobs.start(2, { ...on, type: 'fill', offset: 4096, length: 5, pattern: Uint8Array.of(1, 2) })
  jobs.start(3, { ...on, type: 'copy', offset: 8192, length: 4, source: OTHER, sourceOffset: 100 })
  t.same(ended, [
    [1, 0],
    [2, 5],
    [3, 4],
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

t.test('the write gate', async (t) => {
  const { jobs, disk, gates, elsewhere, ended } = bench(t)
  const alone = { task: { action: 0, offset: 0, length: 0 }, stripes: 0, alone: false, cancel: CANCEL.NONE }
  t.ok(elsewhere.pass(alone, 1, true))
  jobs.start(1, zero)
  jobs.start(2, { ...on, type: 'hold', key: 7, offset: 0, length: 512 })
  t.same([ended, disk.calls], [[], []], 'somebody is alone there')
  t.notOk(jobs.idle)
  elsewhere.leave(alone)
  gates.rang()
  gates.run()
  t.same(
    ended,
    [
      [1, 0],
      [2, 0],
    ],
    'one has ended, one holds',
  )
  t.notOk(jobs.idle)
  t.notOk(elsewhere.pass(alone, 1, true), 'nobody is alone where something is held')
  jobs.letGo(7)
  gates.run()
  const admitted: unknown[] = []
  elsewhere.run((passer) => admitted.push(passer))
  t.same(admitted, [alone])
  elsewhere.leave(alone)
  t.ok(jobs.idle)
  t.throws(() => jobs.letGo(7), 'once')
})
