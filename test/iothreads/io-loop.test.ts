import { clockMonotonicNs, createEventfd, drainEventfd, raw, signalEventfd } from 'memfd-mmap'
import t from 'tap'
import { DelayLine } from '../../iothreads/delay-line.js'
import { NullDriver } from '../../iothreads/drivers/null.js'
import { BELL, BELL_WORD } from '../../iothreads/messages.js'
import { QUEUE_FIELD } from '../../iothreads/statistics.js'
import { THREAD_FIELD } from '../../iothreads/thread-statistics.js'
import { inquiry, read10, TEST_UNIT_READY } from '../support/iothreads/cdb.js'
import { FakeDriver } from '../support/iothreads/fake-driver.js'
import { LoopRig } from '../support/iothreads/loop-rig.js'
import { QueueRig } from '../support/iothreads/queue-rig.js'
import { seeded } from '../support/iothreads/request-with.js'
import { unitSpec } from '../support/iothreads/units.js'

type Engine = 'io_uring' | 'epoll'
const ENGINES: Engine[] = ['io_uring', 'epoll']

const null_ = { ...unitSpec({ kind: 'null', delayNs: 0 }, { size: 2 ** 30 }), driver: new NullDriver(0, () => {}) }

for (const engine of ENGINES) {
  t.test(`queues are served in turns, until they are released: ${engine}`, async (t) => {
    const bench = new LoopRig(t, engine)
    const { loop } = bench
    t.equal(loop.engine.name, engine)
    t.equal(loop.engineFault, null)
    const rigs: QueueRig[] = []
    const kicks: number[] = []
    for (let i = 0; i < 5; i++) {
      t.equal(loop.freeSlot(), i)
      const rig = new QueueRig(t, { units: [null_], slot: i, size: 64 })
      const kickFd = createEventfd()
      t.teardown(() => raw.close(kickFd))
      loop.add(rig.queue, kickFd)
      rigs.push(rig)
      kicks.push(kickFd)
    }
    const random = seeded(4)
    const answered = rigs.map(() => 0)
    const submitted = rigs.map(() => 0)
    // Each turn some more requests and, wanted or not, a notification.
    bench.runUntil(() => {
      for (const [i, rig] of rigs.entries()) {
        for (const { result } of rig.answers()) {
          if (result!.status !== 0) throw new Error('failed')
          answered[i]!++
        }
        for (let n = 1 + Math.floor(random() * 4); n > 0 && submitted[i]! < 300; n--) {
          if (rig.ring.freeDescriptors < 3) break
          rig.submit({ cdb: TEST_UNIT_READY })
          submitted[i]!++
        }
        rig.ring.publish()
        signalEventfd(kicks[i]!)
      }
      return answered.every((count) => count === 300)
    })
    for (const { statistics } of rigs) {
      const seen = statistics.readQueue(QUEUE_FIELD.KICKS)
      t.ok(seen > 0 && seen <= 400, `${seen} notifications seen`)
    }
    for (const { threadStatistics } of rigs) t.equal(threadStatistics.read(THREAD_FIELD.REQUESTS), 300)
    t.equal(loop.statistics.read(THREAD_FIELD.POLLS), 0, 'polling is off')
    // The middle one goes; its slot is the next to be used.
    const gone = rigs[2]!
    loop.release(gone.queue, kicks[2]!)
    bench.runUntil(() => loop.released(gone.queue))
    loop.remove(gone.queue)
    t.equal(loop.freeSlot(), 2)
    gone.submit({ cdb: TEST_UNIT_READY })
    gone.ring.publish()
    signalEventfd(kicks[2]!)
    rigs[3]!.submit({ cdb: inquiry(36), dataIn: 36 })
    if (rigs[3]!.ring.publish()) signalEventfd(kicks[3]!)
    bench.runUntil(() => rigs[3]!.answers().length === 1)
    t.strictSame(gone.answers(), [])
  })

  t.test(`the doorbell wakes the loop for messages, and for the exit: ${engine}`, async (t) => {
    const bench = new LoopRig(t, engine)
    for (let i = 1; i <= 20; i++) {
      bench.ring()
      const start = performance.now()
      bench.runUntil(() => bench.rang === i)
      t.ok(performance.now() - start < 900, 'not after the longest sleep')
      t.equal(bench.bell[0], BELL.SILENT)
    }
    t.equal(bench.bell[BELL_WORD.ANSWERED], 0, 'nobody has asked for a sign of life')
    t.equal(bench.loop.abandoned, false)
    bench.ring(BELL.EXIT)
    bench.onTurn = () => {}
    bench.loop.run()
    t.equal(bench.loop.abandoned, true)
    t.equal(bench.loop.stopped, true)
    t.equal(bench.rang, 20)
    t.equal(drainEventfd(bench.doorbell), 21, 'nobody reads the eventfd')
  })

  t.test(`a sign of life is given when the bell is seen: ${engine}`, async (t) => {
    const bench = new LoopRig(t, engine)
    for (let i = 1; i <= 5; i++) {
      bench.bell[BELL_WORD.ASKED] = 10 * i
      const { turns } = bench
      // No bell, no sign.
      bench.runUntil(() => bench.turns > turns)
      t.not(bench.bell[BELL_WORD.ANSWERED], 10 * i)
      bench.ring()
      bench.runUntil(() => bench.rang === i)
      t.equal(bench.bell[BELL_WORD.ANSWERED], 10 * i)
    }
    t.equal(bench.bell[BELL_WORD.ASKED], 50, 'the loop does not write what it is asked')
  })

  t.test(`a sleep ends when a driver's next request is due: ${engine}`, async (t) => {
    const bench = new LoopRig(t, engine)
    const ended: number[] = []
    const line = new DelayLine(30e6, (_request, result) => ended.push(result))
    bench.delayLines.push(line)
    const rig = new QueueRig(t, { units: [null_] })
    const request = rig.table.take()!
    for (let i = 0; i < 5; i++) {
      line.add(request, i)
      const due = line.deadline
      const turns = bench.turns
      bench.runUntil(() => ended.length === i + 1)
      t.ok(clockMonotonicNs() >= due)
      t.ok(bench.turns - turns < 50, 'asleep meanwhile, not polling')
    }
    t.strictSame(ended, [0, 1, 2, 3, 4])
  })

  t.test(`no sleep is for ever: ${engine}`, async (t) => {
    const bench = new LoopRig(t, engine)
    const rig = new QueueRig(t, { units: [null_] })
    const kickFd = createEventfd()
    t.teardown(() => raw.close(kickFd))
    bench.loop.add(rig.queue, kickFd)
    const start = performance.now()
    bench.runUntil(() => bench.turns === 2)
    t.ok(performance.now() - start > 500, 'it does sleep')
  })

  t.test(`completions go to the request that they are of: ${engine}`, async (t) => {
    const bench = new LoopRig(t, engine)
    const driver = new FakeDriver(2 ** 20)
    driver.pending = true
    const unit = { ...unitSpec({ kind: 'null', delayNs: 0 }), driver }
    const rigs = [0, 1, 2].map((slot) => {
      const rig = new QueueRig(t, { units: [unit], slot })
      bench.loop.add(rig.queue, -1)
      return rig
    })
    for (const [i, rig] of rigs.entries()) {
      for (let n = 0; n < 5; n++) rig.submit({ cdb: read10(10 * i + n, 1), dataIn: 512 })
      rig.ring.publish()
    }
    bench.runUntil(() => driver.waiting === 15)
    for (const rig of rigs) {
      bench.loop.release(rig.queue, -1)
      t.equal(bench.loop.released(rig.queue), false, 'busy')
    }
    while (driver.waiting > 0) {
      const { request, result } = driver.finish()
      bench.loop.completed(request.id, result)
    }
    for (const rig of rigs) {
      t.equal(bench.loop.released(rig.queue), true)
      rig.queue.publish()
      t.equal(rig.answers().length, 5)
    }
  })
}

t.test('which engine', async (t) => {
  t.equal(new LoopRig(t, 'auto').loop.engine.name, 'io_uring')
  t.equal(new LoopRig(t, 'epoll').loop.engine.name, 'epoll')
})

t.test('a kick descriptor that cannot be watched leaves nothing behind', async (t) => {
  const bench = new LoopRig(t, 'epoll')
  const rig = new QueueRig(t, { units: [null_] })
  t.throws(() => bench.loop.add(rig.queue, 99_999), { code: 'EBADF' })
  t.equal(bench.loop.freeSlot(), 0)
  rig.submit({ cdb: TEST_UNIT_READY })
  rig.ring.publish()
  bench.ring()
  bench.runUntil(() => bench.rang === 1)
  t.strictSame(rig.answers(), [])
})
