import t, { type Test } from 'tap'
import { EVENT, EVENT_TYPE, EVENTS_MISSED } from 'vhost-user-protocol-ts'
import { EventRing } from '../../daemon/event-ring.js'
import { MainRing } from '../support/main-ring.js'

const { PARAM_CHANGE, NO_EVENT } = EVENT_TYPE

function eventRing(t: Test) {
  const ring = new MainRing(t)
  const server = new EventRing(
    () => ring.memory,
    () => {},
  )
  const post = () => {
    const { answer } = ring.add(new Uint8Array(0), EVENT.SIZE)
    ring.publish()
    return answer
  }
  const eventAt = (address: number) =>
    new DataView(ring.bytes(address, EVENT.SIZE).slice().buffer).getUint32(EVENT.EVENT, true)
  return { ring, server, post, eventAt }
}

t.test('an event goes to the driver while the ring runs', async (t) => {
  const { ring, server, post, eventAt } = eventRing(t)
  const answer = post()
  await server.start(ring.host())
  server.send(PARAM_CHANGE, 0, 0, 0)
  t.equal(ring.reap().length, 1)
  t.equal(eventAt(answer), PARAM_CHANGE)
  t.equal(await server.stop(), 1)
})

t.test('one that comes while the ring stands still is missed', async (t) => {
  const { ring, server, post, eventAt } = eventRing(t)
  await server.start(ring.host())
  const base = await server.stop()
  server.send(PARAM_CHANGE, 0, 0, 0)
  server.send(PARAM_CHANGE, 0, 1, 0)
  const [first, second] = [post(), post()]
  await server.start(ring.host(base))
  t.equal(ring.reap().length, 1)
  t.equal(eventAt(first), NO_EVENT + EVENTS_MISSED)
  server.send(PARAM_CHANGE, 0, 0, 0)
  t.equal(ring.reap().length, 1)
  t.equal(eventAt(second), PARAM_CHANGE)
  await server.stop()
})

t.test('a driver that was not there has missed nothing', async (t) => {
  const { ring, server, post } = eventRing(t)
  post()
  server.send(PARAM_CHANGE, 0, 0, 0)
  await server.start(ring.host())
  t.equal(ring.reap().length, 0, 'before the first start')
  await server.stop()
  server.send(PARAM_CHANGE, 0, 0, 0)
  server.reset()
  server.send(PARAM_CHANGE, 0, 0, 0)
  await server.start(ring.host())
  t.equal(ring.reap().length, 0, 'nor before a reset, and until the start after it')
  await server.stop()
})
