// Control and event queues that go on where another process was killed.
import t, { type Test } from 'tap'
import { EVENT, EVENT_TYPE, EVENTS_MISSED, RESPONSE, TMF, TMF_REQUEST } from 'vhost-user-protocol-ts'
import { ControlQueue, type TaskManagementRequest } from '../../daemon/control-queue.js'
import { ControlRing } from '../../daemon/control-ring.js'
import { EventQueue } from '../../daemon/event-queue.js'
import { MainQueue } from '../../daemon/main-queue.js'
import { eventually } from '../support/deadline.js'
import { MainRing } from '../support/main-ring.js'
import { writeTmf } from '../support/vhost/scsi-request.js'

const PATIENCE = 20_000
const NOTHING = new Uint8Array(0)
const VERSION = 8

const text = (words: string): Uint8Array => new TextEncoder().encode(words)
const until = (what: string, done: () => boolean) => eventually(PATIENCE, what, () => (done() ? true : undefined))

function open(t: Test, ring: MainRing): { queue: MainQueue; faults: string[] } {
  const faults: string[] = []
  const queue = new MainQueue(
    ring.host(),
    ring.memory,
    () => {},
    (code) => faults.push(code),
  )
  t.teardown(() => queue.close())
  return { queue, faults }
}

t.test('requests that were taken and not answered are taken again', async (t) => {
  const ring = new MainRing(t, { inflight: true })
  const requests = ['a', 'b', 'c', 'd'].map((name) => ring.add(text(name), 4))
  ring.publish()
  const killed = open(t, ring).queue
  t.equal(killed.unresumed, 0)
  const taken = [0, 1, 2].map(() => killed.take()!)
  killed.answer(taken[1]!, text('B'))
  t.same(ring.reap(), [{ head: requests[1]!.head, length: 1 }])
  killed.close()

  const { queue, faults } = open(t, ring)
  t.equal(queue.unresumed, 2)
  const again = [0, 1, 2].map(() => queue.take()!)
  t.same(
    again.map(({ readable }) => Buffer.from(readable).toString()),
    ['a', 'c', 'd'],
    'first what was taken before',
  )
  t.equal(queue.unresumed, 0)
  t.equal(queue.take(), undefined)
  for (const request of again.reverse()) queue.answer(request, text('x'))
  t.same(
    ring.reap().map(({ head }) => head),
    [3, 2, 0].map((i) => requests[i]!.head),
  )
  t.same(faults, [])
  queue.close()
  t.equal(open(t, ring).queue.unresumed, 0, 'nothing is left')
})

t.test('a function that was under way is asked for again', async (t) => {
  const ring = new MainRing(t, { inflight: true })
  const tmf = new Uint8Array(TMF_REQUEST.SIZE)
  const asked: [TaskManagementRequest, (response: number) => void][] = []
  const openControl = (held: boolean): ControlQueue =>
    new ControlQueue(
      ring.host(),
      ring.memory,
      (request) => new Promise((resolve) => asked.push([request, resolve])),
      () => {},
      () => {},
      held,
    )
  writeTmf(tmf, TMF.ABORT_TASK, 3, 2, 7)
  const first = ring.add(tmf, 1)
  ring.publish()
  const killed = openControl(false)
  t.equal(asked.length, 1)
  killed.discard()
  asked.splice(0)[0]![1](RESPONSE.OK)

  const held = openControl(true)
  writeTmf(tmf, TMF.LOGICAL_UNIT_RESET, 4, 1, 0)
  const second = ring.add(tmf, 1)
  ring.publish()
  ring.kick()
  await new Promise((resolve) => setImmediate(resolve))
  t.equal(asked.length, 0, 'not while it is held')
  await held.stop()
  t.equal(asked.length, 0, 'not when it is stopped either')

  const queue = openControl(true)
  queue.release()
  t.match(
    asked.map(([request]) => request),
    [
      { function: TMF.ABORT_TASK, target: 3, lun: 2, tag: [7, 0] },
      { function: TMF.LOGICAL_UNIT_RESET, target: 4 },
    ],
  )
  for (const [, resolve] of asked) resolve(RESPONSE.FUNCTION_SUCCEEDED)
  await queue.stop()
  t.same(
    ring.reap().map(({ head }) => head),
    [first.head, second.head],
  )
  t.equal(ring.bytes(first.answer, 1)[0], RESPONSE.FUNCTION_SUCCEEDED)
})

t.test('what is to be asked for again is not lost by a stop', async (t) => {
  const ring = new MainRing(t, { inflight: true, size: 128 })
  const tmf = new Uint8Array(TMF_REQUEST.SIZE)
  writeTmf(tmf, TMF.QUERY_TASK, 0, 0, 1)
  for (let i = 0; i < 40; i++) ring.add(tmf, 1)
  ring.publish()
  const killed = open(t, ring).queue
  for (let i = 0; i < 40; i++) killed.take()
  killed.close()
  const fault = (): void => {}
  const server = new ControlRing(
    () => ring.memory,
    async () => RESPONSE.OK,
    fault,
    (error) => t.error(error),
  )
  await server.start(ring.host())
  // More than are served before the main loop gets its turn.
  await server.stop()
  t.equal(ring.reap().length, 40)
})

t.test('an event that was being told is called missed, and its buffer not lost', async (t) => {
  const ring = new MainRing(t, { inflight: true })
  const buffers = [0, 1, 2].map(() => ring.add(NOTHING, EVENT.SIZE))
  ring.publish()
  const killed = open(t, ring).queue
  killed.take()
  killed.close()
  const queue = new EventQueue(ring.host(), ring.memory, (code) => t.fail(code))
  t.teardown(() => queue.stop())
  t.same(ring.reap(), [{ head: buffers[0]!.head, length: EVENT.SIZE }])
  const event = (i: number): number => {
    const bytes = ring.bytes(buffers[i]!.answer, EVENT.SIZE)
    return new DataView(bytes.buffer, bytes.byteOffset).getUint32(EVENT.EVENT, true)
  }
  t.equal(event(0), (EVENT_TYPE.NO_EVENT | EVENTS_MISSED) >>> 0)
  t.equal(queue.missed, false)
  queue.send(EVENT_TYPE.PARAM_CHANGE, 0, 0, 0)
  t.same(ring.reap(), [{ head: buffers[1]!.head, length: EVENT.SIZE }])
  t.equal(event(1), EVENT_TYPE.PARAM_CHANGE)
})

t.test('buffers that wait for events stay in the ring', async (t) => {
  const ring = new MainRing(t, { inflight: true })
  const buffers = [0, 1, 2].map(() => ring.add(NOTHING, EVENT.SIZE))
  ring.publish()
  for (const { head } of buffers) {
    const queue = new EventQueue(ring.host(), ring.memory, (code) => t.fail(code))
    t.same(ring.reap(), [])
    queue.send(EVENT_TYPE.TRANSPORT_RESET, 0, 0, 0)
    await until('the event', () => ring.reap()[0]?.head === head)
    queue.stop()
  }
})

t.test('a region that makes no sense is refused', async (t) => {
  const ring = new MainRing(t, { inflight: true })
  ring.noted[VERSION] = 9
  const server = new ControlRing(
    () => ring.memory,
    async () => RESPONSE.OK,
    () => {},
    (error) => t.error(error),
  )
  await t.rejects(server.start(ring.host()), { code: 'VUS_INFLIGHT_UNUSABLE' })
})
