import { close, createEventfd, drainEventfd, dup } from 'memfd-mmap'
import t from 'tap'
import {
  DeviceError,
  featureMask,
  PACKED_BASE_NEW,
  packBase,
  VHOST_F,
  VIRTIO_F,
  Vring,
  type VringAddress,
} from 'vhost-user-protocol-ts'
import { Files, leakless } from '../../support/vhost-user/harness.js'
import { RecordingDevice } from '../../support/vhost-user/recording-device.js'

const SPLIT = featureMask(VIRTIO_F.VERSION_1)
const PACKED = SPLIT | featureMask(VIRTIO_F.RING_PACKED)
const LOGGED = SPLIT | featureMask(VHOST_F.LOG_ALL)

/** A ring over a recording device; `host.features` may be changed. */
const open = (features = SPLIT) => {
  const device = new RecordingDevice()
  const host = { device, features, ringStarted: () => {}, ringStopped: () => {} }
  return { device, host, ring: new Vring(2, host) }
}

const address = (change: Partial<VringAddress> = {}): VringAddress => ({
  index: 2,
  flags: 0,
  desc: 0x10000,
  avail: 0x11000,
  used: 0x12000,
  log: 0,
  ...change,
})

const configured = async (features = SPLIT) => {
  const opened = open(features)
  opened.ring.setSize(128)
  await opened.ring.setAddress(address())
  return opened
}

/** Kick and enable; what the device is told about it. */
const running = async (features = SPLIT) => {
  const opened = await configured(features)
  await opened.ring.setKick(createEventfd())
  await opened.ring.setEnabled(true)
  opened.device.take()
  return opened
}

const finish = async ({ ring }: { ring: Vring }): Promise<void> => {
  await ring.quit(true)
  ring.release()
}

leakless(t, 'a ring is active when it is both started and enabled, in either order', async (t) => {
  for (const kickFirst of [true, false]) {
    const opened = await configured()
    const { ring, device } = opened
    const [first, second] = [() => ring.setKick(createEventfd()), () => ring.setEnabled(true)]
    await (kickFirst ? first : second)()
    t.equal(ring.active, false)
    t.same(device.take(), [])
    await (kickFirst ? second : first)()
    t.match(ring, { active: true, started: true, enabled: true })
    t.same(device.take(), ['startRing 2'])
    await ring.setEnabled(true)
    t.same(device.take(), [], 'enabling twice changes nothing')
    await ring.setEnabled(false)
    await ring.setEnabled(false)
    t.match(ring, { active: false, started: true, enabled: false })
    t.same(device.take(), ['stopRing 2'])
    await finish(opened)
  }
})

leakless(t, 'the device gets the whole set-up', async (t) => {
  const files = new Files()
  const opened = open()
  const { ring, device } = opened
  ring.setSize(256)
  ring.setBase(0xffff)
  await ring.setAddress(address({ log: 0x1840 }))
  await ring.setCall(dup(files.event()))
  await ring.setErr(dup(files.event()))
  await ring.setEnabled(true)
  await ring.setKick(dup(files.event()))
  const setup = device.running.get(2)!
  t.match(setup, {
    index: 2,
    size: 256,
    base: 0xffff,
    desc: 0x10000,
    avail: 0x11000,
    used: 0x12000,
    logAddress: 0x1840,
    flags: 0,
    features: SPLIT,
  })
  t.equal(new Set([setup.kickFd, setup.callFd, setup.errFd]).size, 3)
  await finish(opened)
  files.close()
})

leakless(t, 'a kick without a descriptor means polling', async (t) => {
  const opened = await configured()
  await opened.ring.setEnabled(true)
  await opened.ring.setKick(-1)
  t.match(opened.device.running.get(2), { kickFd: -1, callFd: -1, errFd: -1 })
  await finish(opened)
})

leakless(t, 'call is signalled once at start and once when it arrives on an active ring', async (t) => {
  const files = new Files()
  const opened = await configured()
  const { ring, device } = opened
  const [early, late] = [files.event(), files.event()]
  await ring.setCall(dup(early))
  t.equal(drainEventfd(early), 0, 'not while the ring is at rest')
  await ring.setKick(-1)
  t.equal(drainEventfd(early), 0)
  await ring.setEnabled(true)
  t.equal(drainEventfd(early), 1)
  device.take()
  await ring.setCall(dup(late))
  t.same(device.take(), ['setCall 2'])
  t.equal(drainEventfd(late), 1)
  t.equal(drainEventfd(early), 0)
  await ring.setCall(-1)
  t.equal(device.running.get(2)?.callFd, -1)
  await finish(opened)
  files.close()
})

leakless(t, 'the old call descriptor stays open until the device has let go of it', async (t) => {
  const opened = await running()
  const { ring, device } = opened
  await ring.setCall(createEventfd())
  const old = device.running.get(2)!.callFd
  const release = device.hold('setCall')
  const change = ring.setCall(createEventfd())
  const probe = dup(old)
  t.ok(probe >= 0, 'still open')
  release()
  await change
  t.not(device.running.get(2)!.callFd, old)
  await finish(opened)
  close(probe)
})

leakless(t, 'a descriptor that the device refuses is closed, the old one stays', async (t) => {
  const opened = await running()
  const { ring, device } = opened
  await ring.setCall(createEventfd())
  const old = device.running.get(2)!.callFd
  device.fail('setCall', new DeviceError('X', 'no'))
  await t.rejects(ring.setCall(createEventfd()), { code: 'X' })
  t.equal(device.running.get(2)!.callFd, old)
  device.fail('setErr', new DeviceError('X', 'no'))
  await t.rejects(ring.setErr(createEventfd()), { code: 'X' })
  await ring.setErr(createEventfd())
  t.same(device.take(), ['setCall 2', 'setCall 2', 'setErr 2', 'setErr 2'])
  await finish(opened)
})

leakless(t, 'stop: where the ring stands; kick and call are forgotten, size and addresses are not', async (t) => {
  const opened = await running()
  const { ring, device } = opened
  await ring.setErr(createEventfd())
  await ring.setCall(createEventfd())
  device.bases.set(2, 77)
  t.equal(await ring.stop(), 77)
  t.match(ring, { active: false, started: false, enabled: true, base: 77 })
  t.equal(await ring.stop(), 77, 'again')
  device.take()
  await ring.setKick(createEventfd())
  t.same(device.take(), ['startRing 2'])
  t.match(device.running.get(2), { base: 77, callFd: -1, size: 128 })
  t.ok(device.running.get(2)!.errFd >= 0, 'sent at connect, and not again')
  await finish(opened)
})

leakless(t, 'stop waits for the device', async (t) => {
  const opened = await running()
  const release = opened.device.hold('stopRing')
  let stopped = false
  const stop = opened.ring.stop().then(() => {
    stopped = true
  })
  await new Promise(setImmediate)
  t.equal(stopped, false)
  release()
  await stop
  await finish(opened)
})

leakless(t, 'reset: nothing is left but call and err', async (t) => {
  const files = new Files()
  const opened = await running()
  const { ring, device } = opened
  const call = files.event()
  await ring.setCall(dup(call))
  await ring.setErr(createEventfd())
  device.bases.set(2, 5)
  await ring.reset()
  await ring.reset()
  t.match(ring, { active: false, started: false, enabled: false, base: 0, size: 0 })
  ring.setSize(64)
  await ring.setAddress(address())
  await ring.setEnabled(true)
  drainEventfd(call)
  await ring.setKick(-1)
  t.match(device.running.get(2), { size: 64, base: 0 })
  t.equal(drainEventfd(call), 1)
  t.ok(device.running.get(2)!.errFd >= 0)
  await finish(opened)
  files.close()
})

leakless(t, 'a new kick on an active ring: it continues where it was', async (t) => {
  const opened = await running()
  opened.device.bases.set(2, 9)
  await opened.ring.setKick(createEventfd())
  t.same(opened.device.take(), ['stopRing 2', 'startRing 2'])
  t.equal(opened.device.running.get(2)?.base, 9)
  await finish(opened)
})

leakless(t, 'logging is turned on and off on an active ring', async (t) => {
  const opened = await running()
  const { ring, device, host } = opened
  await ring.setAddress(address())
  t.same(device.take(), [], 'the same again')
  await t.rejects(ring.setAddress(address({ flags: 1 })), { code: 'VUS_RING_FLAGS' }, 'not negotiated')
  host.features = LOGGED
  device.bases.set(2, 300)
  await ring.setAddress(address({ flags: 1, log: 0x5000 }))
  t.same(device.take(), ['stopRing 2', 'startRing 2'])
  t.match(device.running.get(2), { flags: 1, logAddress: 0x5000, base: 300, features: LOGGED })
  await t.rejects(ring.setAddress(address({ flags: 3 })), { code: 'VUS_RING_FLAGS' })
  host.features = SPLIT
  await ring.setEnabled(false)
  await ring.setEnabled(true)
  t.match(device.running.get(2), { flags: 0 }, 'without LOG_ALL the flag means nothing')
  await finish(opened)
})

leakless(t, 'sizes', async (t) => {
  for (const size of [1, 2, 1024, 32768]) open().ring.setSize(size)
  for (const size of [0, 3, 96, 65536, 0xffffffff]) {
    t.throws(() => open().ring.setSize(size), { code: 'VUS_RING_SIZE' }, `${size}`)
  }
  for (const size of [1, 3, 96, 32768]) open(PACKED).ring.setSize(size)
  for (const size of [0, 32769]) t.throws(() => open(PACKED).ring.setSize(size), { code: 'VUS_RING_SIZE' })
})

leakless(t, 'bases', async (t) => {
  for (const base of [0, 0xffff]) open().ring.setBase(base)
  for (const base of [0x10000, 0xffffffff]) t.throws(() => open().ring.setBase(base), { code: 'VUS_RING_BASE' })
  const opened = open(PACKED)
  const base = packBase({ avail: 3, availWrap: true, used: 2, usedWrap: true })
  opened.ring.setBase(base)
  t.equal(await opened.ring.stop(), base)
})

leakless(t, 'alignment', async (t) => {
  const bad: [bigint, Partial<VringAddress>][] = [
    [SPLIT, { desc: 0x10008 }],
    [SPLIT, { avail: 0x11001 }],
    [SPLIT, { used: 0x12002 }],
    [PACKED, { desc: 0x10008 }],
    [PACKED, { avail: 0x11002 }],
    [PACKED, { used: 0x12002 }],
  ]
  for (const [features, change] of bad) {
    await t.rejects(open(features).ring.setAddress(address(change)), { code: 'VUS_RING_ALIGNMENT' })
  }
  await open().ring.setAddress(address({ avail: 0x11002, used: 0x12004, desc: 2 ** 52 }))
})

leakless(t, 'an active ring is not reconfigured', async (t) => {
  const opened = await running()
  t.throws(() => opened.ring.setSize(64), { code: 'VUS_RING_RUNNING' })
  t.throws(() => opened.ring.setBase(1), { code: 'VUS_RING_RUNNING' })
  await finish(opened)
})

leakless(t, 'a ring without size or addresses does not start', async (t) => {
  const opened = open()
  const { ring, device } = opened
  await ring.setKick(createEventfd())
  await t.rejects(ring.setEnabled(true), { code: 'VUS_RING_NOT_CONFIGURED' })
  t.equal(ring.enabled, false)
  ring.setSize(128)
  await t.rejects(ring.setEnabled(true), { code: 'VUS_RING_NOT_CONFIGURED' })
  t.same(device.take(), [])
  await finish(opened)
  const enabled = open()
  await enabled.ring.setEnabled(true)
  await t.rejects(enabled.ring.setKick(createEventfd()), { code: 'VUS_RING_NOT_CONFIGURED' })
  t.equal(enabled.ring.started, false)
  await finish(enabled)
})

leakless(t, 'features that came after size and base are heeded at start', async (t) => {
  const opened = await configured(PACKED)
  const { ring, host } = opened
  ring.setSize(96)
  await ring.setKick(-1)
  host.features = SPLIT
  await t.rejects(ring.setEnabled(true), { code: 'VUS_RING_SIZE' })
  host.features = PACKED
  ring.setSize(128)
  ring.setBase(0x10000)
  host.features = SPLIT
  await t.rejects(ring.setEnabled(true), { code: 'VUS_RING_BASE' })
  await finish(opened)
})

leakless(t, 'a ring that the device cannot start is not active', async (t) => {
  const opened = await configured()
  const { ring, device } = opened
  await ring.setKick(createEventfd())
  device.fail('startRing', new DeviceError('BAD_RING', 'unmapped'))
  await t.rejects(ring.setEnabled(true), { code: 'BAD_RING' })
  t.match(ring, { active: false, started: true, enabled: false })
  await ring.setEnabled(true)
  t.equal(ring.active, true)
  device.fail('startRing', new DeviceError('BAD_RING', 'unmapped'))
  await t.rejects(ring.setAddress(address({ desc: 0x20000 })), { code: 'BAD_RING' })
  t.match(ring, { active: false, started: false })
  device.fail('startRing', new DeviceError('BAD_RING', 'unmapped'))
  await t.rejects(ring.setKick(createEventfd()), { code: 'BAD_RING' })
  t.match(ring, { active: false, started: false })
  await finish(opened)
})

leakless(t, 'a ring that the device does not stop stays active, its descriptors open', async (t) => {
  const opened = await running()
  const { ring, device } = opened
  device.fail('stopRing', new Error('stuck'))
  await t.rejects(ring.stop(), { message: 'stuck' })
  t.equal(ring.active, true)
  await finish(opened)
})

leakless(t, 'a packed ring that nobody has used begins in its first lap', async (t) => {
  const { device, ring } = await running(PACKED)
  t.equal(ring.base, PACKED_BASE_NEW)
  device.bases.set(2, 0x0005_8005)
  t.equal(await ring.stop(), 0x0005_8005)
  await ring.reset()
  t.equal(ring.base, PACKED_BASE_NEW, 'as a reset one does')
  t.equal(await ring.stop(), PACKED_BASE_NEW)
  ring.release()
})
