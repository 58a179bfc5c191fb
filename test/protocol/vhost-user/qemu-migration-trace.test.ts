import { drainEventfd } from 'memfd-mmap'
import t from 'tap'
import { maskPayload, FRONT_END_REQUEST as REQUEST } from 'vhost-user-protocol-ts'
import { leakless } from '../../support/vhost-user/harness.js'
import { each, LINUX, Qemu, RINGS, single, VERSIONS } from '../../support/vhost-user/qemu.js'
import { INFLIGHT_BYTES, RecordingDevice } from '../../support/vhost-user/recording-device.js'

/** Features as they were traced with logging: LOG_ALL is bit 26. */
const LOGGED = 0x174000006n
const DRIVER_FEATURES = 0x130000006n

const device = (): RecordingDevice => new RecordingDevice().offerMigration()

for (const version of Object.keys(VERSIONS)) {
  leakless(t, `QEMU ${version}: inflight buffers at start, stop and cont`, async (t) => {
    const qemu = new Qemu(version, device())
    const { files } = qemu
    await qemu.connect()
    t.same(await qemu.told(), ['reset'])
    const rings = RINGS.map((index) => files.ring(index))
    await qemu.featuresAndInflight(LINUX)
    await qemu.send(REQUEST.ADD_MEM_REG, single(0), files.memory())
    await qemu.startRings(rings)
    const buffer = qemu.twice
      ? ['setFeatures', 'createInflight', 'setInflight', 'setFeatures']
      : ['createInflight', 'setInflight', 'setFeatures']
    t.same(await qemu.told(), [...buffer, 'addMemory', ...each('startRing'), ...each('setCall')])
    await qemu.stop(...RINGS)
    await qemu.told()
    await qemu.featuresAndInflight(LINUX)
    await qemu.startRings(rings)
    const again = buffer.filter((step) => step !== 'createInflight' || !qemu.twice)
    t.same(await qemu.told(), [...again, ...each('startRing'), ...each('setCall')], 'cont')
    await qemu.quit(t)
  })

  leakless(t, `QEMU ${version}: a migration that is cancelled, and one that is not`, async (t) => {
    const qemu = new Qemu(version, device())
    const { files, harness } = qemu
    const { running, bases } = harness.device
    await qemu.connect()
    const rings = RINGS.map((index) => files.ring(index))
    await qemu.featuresAndInflight(LINUX)
    await qemu.send(REQUEST.ADD_MEM_REG, single(0), files.memory())
    await qemu.startRings(rings)
    await qemu.told()
    const restarts = RINGS.flatMap((index) => [`stopRing ${index}`, `startRing ${index}`])
    for (const cancelled of [true, false]) {
      for (const index of RINGS) bases.set(index, 200 + index)
      await qemu.setLog(4096)
      await qemu.log(LINUX, rings, true)
      t.same(await qemu.told(), ['setLog', 'setFeatures', ...restarts], 'logging on')
      for (const { index, used } of rings) {
        const features = DRIVER_FEATURES | (LOGGED ^ LINUX)
        t.match(running.get(index), { flags: 1, logAddress: used, base: 200 + index, features })
      }
      // More memory: a longer log. The rings go on.
      await qemu.setLog(8192)
      t.same(await qemu.told(), ['setLog'])
      if (!cancelled) break
      await qemu.log(LINUX, rings, false)
      t.same(await qemu.told(), ['setFeatures', ...restarts], 'logging off')
      t.match(running.get(3), { flags: 0, base: 203, features: DRIVER_FEATURES })
    }
    t.same(await qemu.stop(...RINGS), [200, 201, 202, 203])
    t.same(await qemu.told(), each('stopRing'), 'the end of the migration')
    await qemu.quit(t)
  })

  leakless(t, `QEMU ${version}: a guest that resets during a migration: the log comes after LOG_ALL`, async (t) => {
    const qemu = new Qemu(version, device())
    const { files, harness } = qemu
    await qemu.connect()
    await qemu.send(REQUEST.SET_FEATURES, maskPayload(LOGGED))
    await qemu.send(REQUEST.ADD_MEM_REG, single(0), files.memory())
    await qemu.told()
    await qemu.startRings([files.ring(2)], 4096)
    t.same(await qemu.told(), ['setLog', 'startRing 2', 'setCall 2'], 'and before the ring is enabled')
    t.match(harness.device.running.get(2), { flags: 1 })
    await qemu.quit(t)
  })
}

leakless(t, 'QEMU 10.2 reconnects: the old buffer comes with the first start', async (t) => {
  const before = new Qemu('10.2', device())
  await before.connect()
  await before.featuresAndInflight(LINUX)
  await before.send(REQUEST.ADD_MEM_REG, single(0), before.files.memory())
  await before.startRings(RINGS.map((index) => before.files.ring(index)))
  const inflight = before.takeInflight()
  await before.quit(t)

  const after = new Qemu('10.2', device())
  const { files, harness } = after
  after.giveInflight(inflight)
  await after.connect()
  await after.told()
  const rings = RINGS.map((index) => files.ring(index, 7))
  await after.featuresAndInflight(LINUX)
  await after.send(REQUEST.ADD_MEM_REG, single(0), files.memory())
  await after.startRings(rings)
  const { calls } = harness.device
  t.same(calls.find(({ method }) => method === 'setInflight')?.args, [
    { size: INFLIGHT_BYTES, offset: 64, queues: 4, queueSize: 128 },
  ])
  t.same(await after.told(), [
    'setFeatures',
    'setInflight',
    'setFeatures',
    'addMemory',
    ...each('startRing'),
    ...each('setCall'),
  ])
  // What was completed before the crash is made good when the true call descriptor comes.
  for (const { callFd } of rings) t.equal(drainEventfd(callFd), 1)
  await after.quit(t)
})
