import { drainEventfd, signalEventfd } from 'memfd-mmap'
import t from 'tap'
import { FRONT_END_REQUEST } from 'vhost-user-protocol-ts'
import { frame } from '../../../support/vhost-user/frame.js'
import { Files, Harness, leakless } from '../../../support/vhost-user/harness.js'

leakless(t, 'each message reaches the ring that it names', async (t) => {
  const files = new Files()
  const harness = new Harness()
  const { frontEnd, device } = harness
  await harness.negotiate()
  const ring = files.ring(3, 11)
  const err = files.event()
  await frontEnd.setVringNum(3, ring.size)
  await frontEnd.setVringBase(3, ring.base)
  await frontEnd.setVringAddr({ index: 3, flags: 0, desc: ring.desc, avail: ring.avail, used: ring.used, log: 0 })
  await frontEnd.setVringCall(3, ring.callFd)
  await frontEnd.setVringErr(3, err)
  await frontEnd.setVringKick(3, ring.kickFd)
  await frontEnd.setVringEnable(3, true)
  t.same(device.take(), ['startRing 3'])
  const setup = device.running.get(3)!
  t.match(setup, { size: 128, base: 11, desc: ring.desc, avail: ring.avail, used: ring.used })
  t.equal(drainEventfd(ring.callFd), 1)
  signalEventfd(setup.errFd)
  signalEventfd(setup.kickFd)
  t.equal(drainEventfd(err), 1, 'err is the one that was sent')
  t.equal(drainEventfd(ring.kickFd), 1, 'and so is kick')
  const late = files.event()
  await frontEnd.setVringErr(3, late)
  signalEventfd(setup.errFd)
  t.equal(drainEventfd(late), 1)
  device.bases.set(3, 0xffff)
  t.equal(await frontEnd.getVringBase(3), 0xffff)
  await harness.leave()
  files.close()
})

leakless(t, 'descriptors -1', async (t) => {
  const files = new Files()
  const harness = new Harness()
  const { frontEnd, device } = harness
  await harness.negotiate()
  const ring = files.ring(0)
  await frontEnd.setVringNum(0, 64)
  await frontEnd.setVringAddr({ index: 0, flags: 0, desc: ring.desc, avail: ring.avail, used: ring.used, log: 0 })
  await frontEnd.setVringEnable(0, true)
  await frontEnd.setVringCall(0, -1)
  await frontEnd.setVringErr(0, -1)
  await frontEnd.setVringKick(0, -1)
  t.match(device.running.get(0), { kickFd: -1, callFd: -1, errFd: -1 })
  await harness.leave()
  files.close()
})

leakless(t, 'GET_VRING_BASE of a ring that never ran', async (t) => {
  const harness = new Harness()
  const { frontEnd } = harness
  t.equal(await frontEnd.getVringBase(1), 0)
  await frontEnd.setVringBase(1, 99)
  t.equal(await frontEnd.getVringBase(1), 99)
  t.same(harness.device.take(), [])
  await harness.leave()
})

leakless(t, 'GET_VRING_BASE of a ring that does not exist has no answer: the connection ends', async (t) => {
  const harness = new Harness()
  await harness.negotiate()
  await t.rejects(harness.frontEnd.getVringBase(4), { code: 'VUS_DISCONNECTED' })
  t.match(await harness.ended(), { code: 'VUS_RING_INDEX', message: /GET_VRING_BASE: .*ring 4 of 4/ })
})

leakless(t, 'nor is need_reply an answer: it would be taken for the base', async (t) => {
  const harness = new Harness()
  await harness.negotiate()
  harness.frontEnd.sendRaw(frame(FRONT_END_REQUEST.GET_VRING_BASE, 0x9, Uint8Array.of(4, 0, 0, 0, 0, 0, 0, 0)))
  t.equal((await harness.ended()).code, 'VUS_RING_INDEX')
  t.equal(await harness.frontEnd.closed, undefined, 'no reply that nobody waits for')
})

leakless(t, 'SET_VRING_ENABLE counts also before any features were accepted', async (t) => {
  const harness = new Harness()
  await harness.frontEnd.command(FRONT_END_REQUEST.SET_VRING_ENABLE, Uint8Array.of(2, 0, 0, 0, 1, 0, 0, 0))
  await harness.frontEnd.barrier()
  t.match(harness.session.rings[2], { enabled: true, started: false })
  await harness.leave()
})
