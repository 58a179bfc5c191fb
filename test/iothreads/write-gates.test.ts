import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import t from 'tap'
import { DoorbellRows } from '../../iothreads/doorbells.js'
import { createGate } from '../../iothreads/write-gate-memory.js'
import { WriteGates } from '../../iothreads/write-gates.js'
import type { GateThreadData, GateThreadResult } from '../support/iothreads/gate-thread.js'
import { times } from '../support/long.js'

t.setTimeout(times(1) * 60_000 + 60_000)

t.test('one gate for a unit, whoever has it, until nobody has', async (t) => {
  const rows = new DoorbellRows()
  const gates = new WriteGates(rows.doorbells, 0, () => {})
  const memory = createGate()
  const gate = gates.open(memory, false)
  t.equal(gates.open(memory, false), gate)
  // As it comes through a message port: another object, the same memory.
  t.equal(gates.open(structuredClone(memory), false), gate)
  t.not(gates.open(createGate(), false), gate)
  for (let i = 0; i < 3; i++) gates.close(memory)
  t.equal(gates.open(memory, false), gate, 'in the same turn')
  gates.run()
  t.equal(gates.open(memory, false), gate)
  for (let i = 0; i < 2; i++) gates.close(memory)
  gates.run()
  t.not(gates.open(memory, false), gate)
})

const THREADS = 4

for (const [what, o] of [
  ['mostly alone', { alone: 2, cancelled: 50 }],
  ['seldom alone', { alone: 20, cancelled: 20 }],
] as const) {
  t.test(`threads go through, ${what}: nobody beside one that is alone, nobody left behind`, async (t) => {
    const rows = new DoorbellRows()
    const gates = [createGate(), createGate()]
    const inside = new SharedArrayBuffer(4 * 32 * gates.length)
    const workers = Array.from({ length: THREADS }, () => {
      const bell = rows.open()
      t.teardown(() => rows.close(bell))
      const doorbells = rows.doorbells.memory
      const count = times(5000)
      const workerData: GateThreadData = { doorbells, row: bell.row, gates, inside, count, depth: 6, ...o }
      return new Worker(new URL('../support/iothreads/gate-thread.js', import.meta.url), { workerData })
    })
    const ended = Promise.all(workers.map((worker) => once(worker, 'exit')))
    const results = await Promise.all(workers.map(async (worker) => (await once(worker, 'message'))[0]))
    await ended
    for (const { fault, passed, waited, cancelled } of results as GateThreadResult[]) {
      t.equal(fault, '')
      t.equal(passed + cancelled, times(5000))
      t.ok(waited > 0 && cancelled > 0, `${waited} waited, ${cancelled} of them in vain`)
    }
    t.ok(new Int32Array(inside).every((word) => word === 0))
  })
}
