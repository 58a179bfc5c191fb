import t from 'tap'
import type { RingSetup } from 'vhost-user-protocol-ts'
import type { RingServer } from '../../daemon/ring.js'
import { RingSet } from '../../daemon/ring-set.js'
import type { HostRing } from '../../iothreads/index.js'

const setup = (index: number, base = 0): RingSetup => ({
  ...{ index, size: 8, base, desc: 0, avail: 0, used: 0, logAddress: 0, flags: 0 },
  ...{ kickFd: -1, callFd: -1, errFd: -1, features: 0n },
})

/** Notes what is asked of the ring. */
function server(notes: string[], index: number, refuses = false): RingServer {
  return {
    async start({ base }) {
      if (refuses) throw new Error(`no ring ${index}`)
      notes.push(`start ${index} at ${base}`)
    },
    async stop() {
      notes.push(`stop ${index}`)
      return 40 + index
    },
    async setCall() {},
    async setErr() {},
  }
}

const newSet = () => new RingSet((s) => s as unknown as HostRing)

async function started(notes: string[], indexes: readonly number[]): Promise<RingSet> {
  const rings = newSet()
  for (const index of indexes) await rings.start(setup(index, index), server(notes, index))
  notes.length = 0
  return rings
}

t.test('rings start and stop', async (t) => {
  const notes: string[] = []
  const rings = newSet()
  await rings.start(setup(0, 7), server(notes, 0))
  await rings.start(setup(3), server(notes, 3))
  t.equal(rings.requestQueues, 1)
  t.same(
    rings.setups.map(({ index, base }) => [index, base]),
    [
      [0, 7],
      [3, 0],
    ],
  )
  t.equal(await rings.stop(0), 40)
  t.equal(rings.get(0), undefined)
  t.ok(rings.get(3))
  t.equal(await rings.stop(3), 43)
  t.equal(rings.requestQueues, 0)
  t.same(notes, ['start 0 at 7', 'start 3 at 0', 'stop 0', 'stop 3'])
})

t.test('a ring that cannot run is not among them', async (t) => {
  const notes: string[] = []
  const rings = newSet()
  await t.rejects(rings.start(setup(2), server(notes, 2, true)), { message: 'no ring 2' })
  t.equal(rings.get(2), undefined)
  t.equal(rings.requestQueues, 0)
  await rings.start(setup(2), server(notes, 2))
  t.same(notes, ['start 2 at 0'])
})

t.test('a change while all stand still: task management goes first and comes back last', async (t) => {
  const notes: string[] = []
  const rings = await started(notes, [2, 0, 1])
  await rings.atRest(async () => {
    notes.push('change')
  })
  t.same(notes, ['stop 0', 'stop 2', 'stop 1', 'change', 'start 2 at 42', 'start 1 at 41', 'start 0 at 40'])
})

t.test('they go on after a change that failed', async (t) => {
  const notes: string[] = []
  const rings = await started(notes, [2])
  await t.rejects(
    rings.atRest(async () => {
      throw new Error('no change')
    }),
    { message: 'no change' },
  )
  t.same(notes, ['stop 2', 'start 2 at 42'])
})

t.test('a ring that ends during a change does not come back', async (t) => {
  const notes: string[] = []
  const rings = await started(notes, [2, 3])
  await rings.atRest(async () => {
    t.equal(await rings.stop(2), 42, 'it stands still already')
  })
  t.same(notes, ['stop 2', 'stop 3', 'start 3 at 43'])
})

t.test('one that cannot go on leaves the others', async (t) => {
  const notes: string[] = []
  const rings = await started(notes, [0, 2, 3])
  let starts = 0
  const once: RingServer = {
    ...server(notes, 4),
    async start() {
      if (starts++ > 0) throw new Error('no ring 4')
    },
  }
  await rings.start(setup(4), once)
  await t.rejects(
    rings.atRest(async () => {}),
    { message: 'no ring 4' },
  )
  t.same(notes, ['stop 0', 'stop 2', 'stop 3', 'stop 4', 'start 2 at 42', 'start 3 at 43', 'start 0 at 40'])
})
