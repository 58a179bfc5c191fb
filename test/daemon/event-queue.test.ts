import t, { type Test } from 'tap'
import { EVENT, EVENT_RESET_REASON, EVENT_TYPE, EVENTS_MISSED } from 'vhost-user-protocol-ts'
import { EventQueue } from '../../daemon/event-queue.js'
import { eventually } from '../support/deadline.js'
import { MainRing, type MainRingOptions } from '../support/main-ring.js'
import { splitDriver } from '../support/vhost/ring-driver.js'

const PATIENCE = 20_000

function eventQueue(t: Test, options: MainRingOptions = {}, ring = new MainRing(t, options), base = 0) {
  const faults: string[] = []
  const queue = new EventQueue(ring.host(base), ring.memory, (code) => faults.push(code))
  t.teardown(() => queue.stop())
  return { ring, queue, faults }
}

/** The event in a buffer that came back. */
function eventAt(ring: MainRing, address: number) {
  const bytes = ring.bytes(address, EVENT.SIZE)
  const view = new DataView(bytes.buffer, bytes.byteOffset, EVENT.SIZE)
  return {
    event: view.getUint32(EVENT.EVENT, true),
    lun: [...bytes.subarray(EVENT.LUN, EVENT.LUN + 8)],
    reason: view.getUint32(EVENT.REASON, true),
  }
}

const NOTHING = new Uint8Array(0)
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

async function arrived(ring: MainRing): Promise<{ head: number; length: number }> {
  return eventually(PATIENCE, 'an event', () => ring.reap()[0])
}

t.test('an event goes into the first buffer, and tells of itself', async (t) => {
  const { ring, queue } = eventQueue(t)
  const buffers = [0, 1, 2].map(() => ring.add(NOTHING, EVENT.SIZE))
  ring.publish()
  queue.send(EVENT_TYPE.PARAM_CHANGE, 3, 300, 0x092a)
  t.same(ring.reap(), [{ head: buffers[0]!.head, length: EVENT.SIZE }])
  t.same(eventAt(ring, buffers[0]!.answer), {
    event: EVENT_TYPE.PARAM_CHANGE,
    lun: [1, 3, 0x41, 0x2c, 0, 0, 0, 0],
    reason: 0x092a,
  })
  t.equal(ring.calls, 1)
  queue.send(EVENT_TYPE.TRANSPORT_RESET, 0, 1, EVENT_RESET_REASON.REMOVED)
  t.equal(ring.reap()[0]?.head, buffers[1]!.head)
  t.same(eventAt(ring, buffers[1]!.answer), {
    event: EVENT_TYPE.TRANSPORT_RESET,
    lun: [1, 0, 0, 1, 0, 0, 0, 0],
    reason: 2,
  })
})

t.test('a LUN has the form that REPORT LUNS has it in', async (t) => {
  const { ring, queue } = eventQueue(t)
  for (const [lun, bytes] of [
    [0, [0, 0]],
    [255, [0, 255]],
    [256, [0x41, 0]],
    [16383, [0x7f, 255]],
  ] as const) {
    const { answer } = ring.add(NOTHING, EVENT.SIZE)
    ring.publish()
    queue.send(EVENT_TYPE.TRANSPORT_RESET, 7, lun, EVENT_RESET_REASON.RESCAN)
    t.same(eventAt(ring, answer).lun, [1, 7, ...bytes, 0, 0, 0, 0])
    ring.reap()
  }
})

t.test('buffers stay in the ring until there is an event', async (t) => {
  const { ring, queue } = eventQueue(t)
  for (let i = 0; i < 4; i++) ring.add(NOTHING, EVENT.SIZE)
  ring.publish()
  ring.kick()
  await turn()
  queue.send(EVENT_TYPE.ASYNC_NOTIFY, 0, 0, 0)
  t.equal(ring.reap().length, 1)
  t.equal(queue.stop(), 1, 'the available index is the used index')
  t.equal(ring.driver.deviceUsedIndex, 1)
  // So another, which starts at the used index, has all buffers that are left.
  const next = eventQueue(t, {}, ring, ring.driver.deviceUsedIndex)
  for (let i = 0; i < 3; i++) next.queue.send(EVENT_TYPE.ASYNC_NOTIFY, 0, 0, i)
  t.equal(ring.reap().length, 3)
  t.equal(next.queue.stop(), 4)
})

t.test('an event without a buffer is missed, and the driver hears of that', async (t) => {
  for (const eventIdx of [true, false]) {
    const { ring, queue } = eventQueue(t, { eventIdx })
    queue.send(EVENT_TYPE.TRANSPORT_RESET, 0, 1, EVENT_RESET_REASON.RESCAN)
    queue.send(EVENT_TYPE.TRANSPORT_RESET, 0, 2, EVENT_RESET_REASON.RESCAN)
    t.same(ring.reap(), [])
    const first = ring.add(NOTHING, EVENT.SIZE)
    const second = ring.add(NOTHING, EVENT.SIZE)
    ring.publish()
    t.same(await arrived(ring), { head: first.head, length: EVENT.SIZE }, 'as soon as there is a buffer')
    const missed = EVENT_TYPE.NO_EVENT + EVENTS_MISSED
    t.same(eventAt(ring, first.answer), { event: missed, lun: [0, 0, 0, 0, 0, 0, 0, 0], reason: 0 })
    queue.send(EVENT_TYPE.PARAM_CHANGE, 0, 0, 7)
    t.equal(ring.reap()[0]?.head, second.head)
    t.match(eventAt(ring, second.answer), { event: EVENT_TYPE.PARAM_CHANGE, reason: 7 }, 'it was said once')
  }
})

t.test('an event that comes before the kick brings the news itself', async (t) => {
  const { ring, queue } = eventQueue(t)
  queue.send(EVENT_TYPE.PARAM_CHANGE, 0, 0, 1)
  const { answer } = ring.add(NOTHING, EVENT.SIZE)
  ring.driver.publish()
  queue.send(EVENT_TYPE.PARAM_CHANGE, 0, 0, 2)
  t.equal(ring.reap().length, 1)
  t.match(eventAt(ring, answer), { event: EVENT_TYPE.PARAM_CHANGE + EVENTS_MISSED, reason: 2 })
  ring.add(NOTHING, EVENT.SIZE)
  ring.driver.publish()
  ring.kick()
  await turn()
  await turn()
  t.same(ring.reap(), [], 'nothing more is to be said')
})

t.test('a kick when nothing was missed takes nothing', async (t) => {
  const { ring, queue } = eventQueue(t)
  ring.add(NOTHING, EVENT.SIZE)
  ring.publish()
  for (let i = 0; i < 5; i++) {
    ring.kick()
    await turn()
  }
  t.same(ring.reap(), [])
  t.equal(queue.stop(), 0)
})

t.test('a buffer that is too short has as much as fits', async (t) => {
  const { ring, queue } = eventQueue(t)
  const { answer } = ring.add(NOTHING, 6)
  ring.publish()
  queue.send(EVENT_TYPE.PARAM_CHANGE, 9, 0, 1)
  t.equal(ring.reap()[0]?.length, 6)
  t.same([...ring.bytes(answer, 8)], [3, 0, 0, 0, 1, 9, 0, 0])
})

t.test('what was missed is not forgotten when the ring stops', async (t) => {
  const { ring, queue } = eventQueue(t)
  queue.send(EVENT_TYPE.PARAM_CHANGE, 0, 0, 1)
  t.equal(queue.missed, true)
  t.equal(queue.stop(), 0)
  const next = new EventQueue(ring.host(), ring.memory, () => {}, queue.missed)
  t.teardown(() => next.stop())
  const { answer } = ring.add(NOTHING, EVENT.SIZE)
  ring.publish()
  await arrived(ring)
  t.match(eventAt(ring, answer), { event: EVENT_TYPE.NO_EVENT + EVENTS_MISSED })
  t.equal(next.missed, false)
})

t.test('a broken ring', async (t) => {
  const { ring, queue, faults } = eventQueue(t)
  splitDriver(ring.driver).publishRaw(99)
  queue.send(EVENT_TYPE.PARAM_CHANGE, 0, 0, 1)
  queue.send(EVENT_TYPE.PARAM_CHANGE, 0, 0, 2)
  t.same(faults, ['VUS_RING_AVAILABLE_INDEX'])
  t.equal(ring.errors, 1)
  t.equal(queue.stop(), 0)
})
