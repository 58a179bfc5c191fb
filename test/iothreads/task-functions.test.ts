import { createEventfd, ERRNO, raw } from 'memfd-mmap'
import t from 'tap'
import { RESPONSE } from 'vhost-user-protocol-ts'
import type { DelayLine } from '../../iothreads/delay-line.js'
import { NullDriver } from '../../iothreads/drivers/null.js'
import type { ForwardedCommand } from '../../iothreads/messages.js'
import { CANCEL, type Request } from '../../iothreads/request.js'
import { TaskFunctions } from '../../iothreads/task-functions.js'
import { Task } from '../../scsi/index.js'
import { read10 } from '../support/iothreads/cdb.js'
import { FakeDriver } from '../support/iothreads/fake-driver.js'
import { LoopRig } from '../support/iothreads/loop-rig.js'
import { QueueRig } from '../support/iothreads/queue-rig.js'
import { unitSpec } from '../support/iothreads/units.js'
import type { Teardown } from '../support/teardown.js'

const SIZE = 2 ** 20
const NO_CHANGE = Uint8Array.of(0, 0, 0, 0)
const MODE_SELECT = [0x15, 0x10, 0, 0, NO_CHANGE.length, 0]
const ANY = { target: 0, lun: 0, tag: null }
const { medium: _, ...UNIT } = unitSpec({ kind: 'null', delayNs: 0 }, { size: SIZE })

/** Two queues of one controller: of the first the driver's I/O is under way until it is told otherwise, the second's is held back. */
function setting(t: Teardown) {
  const driver = new FakeDriver(SIZE)
  driver.pending = true
  const busy = new QueueRig(t, { units: [{ ...UNIT, driver }] })
  const ended: Request[] = []
  const holding = new NullDriver(3600e9, (request, result) => {
    ended.push(request)
    held.queue.execution.completed(request, result)
  })
  const held = new QueueRig(t, { units: [{ ...UNIT, driver: holding }], slot: 1 })
  const cancelled: number[] = []
  const replies: [id: number, value: number][] = []
  const functions = new TaskFunctions({ cancel: (id) => cancelled.push(id) }, (id, value) => replies.push([id, value]))
  const tasks = {
    queues: new Map([
      [2, busy.queue],
      [3, held.queue],
    ]),
    delayLines: [holding.delayLine!],
  }
  const submit = (rig: QueueRig, tag: number, fetched: boolean): void => {
    rig.submit({ cdb: read10(0, 1), dataIn: 512, tag })
    rig.ring.publish()
    if (fetched) rig.queue.drain()
  }
  /** The responses that the guest sees, in order. */
  const answers = (rig: QueueRig): number[] => {
    rig.queue.publish()
    return rig.answers().map(({ result }) => result!.response)
  }
  /** Ends the driver's oldest I/O. */
  const finish = (result?: number): void => {
    const done = driver.finish()
    busy.queue.execution.completed(done.request, result ?? done.result)
  }
  return { driver, busy, held, ended, cancelled, replies, functions, tasks, submit, answers, finish }
}

t.test('a cancel ends what is under way, what is held, and what is still in the ring', async (t) => {
  const { driver, busy, held, ended, cancelled, replies, functions, tasks, submit, answers, finish } = setting(t)
  for (const tag of [1, 2]) submit(busy, tag, true)
  for (const tag of [1, 2]) submit(held, tag, true)
  for (const rig of [busy, held]) submit(rig, 3, false)
  functions.cancel(7, tasks, ANY, CANCEL.RESET)
  t.strictSame(
    cancelled,
    driver.calls.map(({ request }) => request.id),
    'the engine is asked to end what is under way, and nothing else',
  )
  t.equal(ended.length, 2)
  t.equal(driver.calls.length, 2, 'what was in the ring is not started')
  t.strictSame(answers(busy), [RESPONSE.RESET])
  t.strictSame(answers(held), [RESPONSE.RESET, RESPONSE.RESET, RESPONSE.RESET])
  functions.settle()
  t.strictSame(replies, [])
  finish(-ERRNO.ECANCELED)
  functions.settle()
  t.strictSame(replies, [], 'not before all are answered')
  finish()
  t.strictSame(replies, [], 'not before they are published')
  t.strictSame(answers(busy), [RESPONSE.RESET, RESPONSE.RESET], 'also what could not be taken back any more')
  functions.settle()
  functions.settle()
  t.strictSame(replies, [[7, 6]])
})

t.test('several functions for the same requests', async (t) => {
  const { busy, cancelled, replies, functions, tasks, submit, answers, finish } = setting(t)
  for (const tag of [1, 2, 3]) submit(busy, tag, true)
  functions.cancel(1, tasks, { ...ANY, tag: [2, 0] }, CANCEL.ABORTED)
  functions.cancel(2, tasks, ANY, CANCEL.RESET)
  functions.cancel(3, tasks, { ...ANY, tag: [9, 0] }, CANCEL.ABORTED)
  functions.settle()
  t.strictSame(replies.splice(0), [[3, 0]], 'one that finds nothing waits for nobody')
  t.equal(cancelled.length, 3, 'the engine is asked once for each')
  finish()
  finish()
  functions.settle()
  t.strictSame(replies.splice(0), [[1, 1]])
  finish()
  functions.settle()
  t.strictSame(replies, [[2, 3]])
  t.strictSame(answers(busy), [RESPONSE.RESET, RESPONSE.ABORTED, RESPONSE.RESET], 'the first one’s reason counts')
})

t.test('a fence waits for what is under way, to end as it does', async (t) => {
  const { busy, held, ended, cancelled, replies, functions, tasks, submit, answers, finish } = setting(t)
  for (const tag of [1, 2]) submit(busy, tag, true)
  submit(busy, 3, false)
  functions.fence(1, tasks, ANY)
  functions.fence(2, tasks, { ...ANY, lun: 1 })
  functions.settle()
  t.strictSame(replies.splice(0), [[2, 0]], 'another unit has nothing under way')
  busy.queue.drain()
  finish()
  functions.settle()
  functions.fence(3, tasks, { ...ANY, tag: [3, 0] })
  finish()
  t.strictSame(replies, [], 'not before they are published')
  t.strictSame(answers(busy), [RESPONSE.OK, RESPONSE.OK])
  functions.settle()
  t.strictSame(replies.splice(0), [[1, 2]], 'what came later is not waited for')
  finish()
  functions.settle()
  t.strictSame(replies, [[3, 1]])
  t.strictSame([cancelled, ended], [[], []], 'nothing was cancelled')
  t.ok(held)
})

t.test('a fence does not wait for what was forwarded: that may be waiting for the fence', async (t) => {
  const { busy, replies, functions, tasks, submit, answers, finish } = setting(t)
  busy.submit({ cdb: MODE_SELECT, dataOut: NO_CHANGE, tag: 4 })
  busy.turn()
  t.equal(busy.forwarded.length, 1)
  submit(busy, 1, true)
  functions.fence(1, tasks, ANY)
  functions.settle()
  t.strictSame(replies, [])
  finish()
  functions.settle()
  t.strictSame(replies, [[1, 1]])
  t.strictSame(answers(busy), [RESPONSE.OK])
})

t.test('what was forwarded is cancelled by recalling it', async (t) => {
  const { busy, cancelled, replies, functions, tasks, answers } = setting(t)
  busy.submit({ cdb: MODE_SELECT, dataOut: NO_CHANGE, tag: 4 })
  busy.turn()
  const [{ ticket }] = busy.forwarded as [ForwardedCommand]
  functions.cancel(1, tasks, ANY, CANCEL.ABORTED)
  functions.cancel(2, tasks, ANY, CANCEL.RESET)
  functions.settle()
  t.equal(cancelled.length, 1)
  t.strictSame(
    busy.recalled.map((each) => each.ticket),
    [ticket],
  )
  t.strictSame(replies, [])
  busy.forwarding.conclude(ticket, new Task().result)
  t.strictSame(answers(busy), [RESPONSE.ABORTED])
  functions.settle()
  t.strictSame(replies, [
    [1, 1],
    [2, 1],
  ])
})

t.test('a query counts what is in the ring as well, and replies in its turn', async (t) => {
  const { driver, busy, held, replies, functions, tasks, submit } = setting(t)
  submit(busy, 1, true)
  submit(busy, 2, false)
  submit(held, 2, false)
  functions.query(1, tasks, { ...ANY, tag: [2, 0] })
  functions.query(2, tasks, ANY)
  functions.query(3, tasks, { ...ANY, lun: 1 })
  t.strictSame(replies, [], 'answers that were not published yet come first')
  functions.settle()
  t.strictSame(replies, [
    [1, 2],
    [2, 3],
    [3, 0],
  ])
  t.equal(driver.calls.length, 2, 'they are started as usual')
})

t.test('in a loop: the answers are published before the reply', async (t) => {
  for (const engine of ['io_uring', 'epoll'] as const) {
    const bench = new LoopRig(t, engine)
    const driver = new NullDriver(3600e9, ({ id }, result) => bench.loop.completed(id, result))
    const rig = new QueueRig(t, { units: [{ ...UNIT, driver }] })
    const kickFd = createEventfd()
    t.teardown(() => raw.close(kickFd))
    bench.loop.add(rig.queue, kickFd)
    let seen = -1
    const functions = new TaskFunctions(bench.loop.engine, () => {
      seen = rig.ring.deviceUsedIndex
    })
    bench.messages = () => {
      // Since the loop has looked at the ring in this turn.
      rig.submit({ cdb: read10(0, 1), dataIn: 512, tag: 5 })
      rig.ring.publish()
      const tasks = { queues: new Map([[2, rig.queue]]), delayLines: [driver.delayLine as DelayLine] }
      functions.cancel(1, tasks, ANY, CANCEL.ABORTED)
    }
    for (let tag = 0; tag < 4; tag++) rig.submit({ cdb: read10(0, 1), dataIn: 512, tag })
    rig.ring.publish()
    bench.ring()
    bench.runUntil(() => {
      functions.settle()
      return seen >= 0
    })
    t.equal(seen, 5, engine)
  }
})
