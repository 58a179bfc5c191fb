import { createEventfd, drainEventfd, signalEventfd, socketPair } from 'memfd-mmap'
import t from 'tap'
import {
  BackendSession,
  connectFrontEnd,
  DeviceError,
  type FrontEndSetup,
  featureMask,
  VHOST_F,
  VIRTIO_F,
} from 'vhost-user-protocol-ts'
import { tempDir } from '../../support/temp-dir.js'
import { Files, leakless, Reports, region, soon, USER_BASE } from '../../support/vhost-user/harness.js'
import { INFLIGHT_BYTES, RecordingDevice } from '../../support/vhost-user/recording-device.js'

const LOG_ALL = featureMask(VHOST_F.LOG_ALL)

const open = async (setup: Partial<FrontEndSetup> = {}, device = new RecordingDevice()) => {
  const files = new Files()
  const reports = new Reports()
  const [here, there] = socketPair()
  const session = new BackendSession(here, device, { report: reports })
  const memory = [{ region: region(), fd: files.memory() }]
  const driver = await connectFrontEnd(there, { ringCount: 4, memory, ...setup })
  return {
    files,
    device,
    session,
    driver,
    reports,
    /** The names of the messages that arrived since the last time. */
    heard: async () => {
      await driver.frontEnd.barrier()
      const names = reports.messages
      reports.all.length = 0
      return names.slice(0, -1)
    },
    finish: async () => {
      driver.close()
      await soon('the end', session.closed)
      files.close()
    },
  }
}

const times = (count: number, ...names: string[]): string[] => Array.from({ length: count }, () => names).flat()

const CONNECT = [
  'GET_FEATURES',
  'GET_PROTOCOL_FEATURES',
  'SET_PROTOCOL_FEATURES',
  'GET_QUEUE_NUM',
  'GET_MAX_MEM_SLOTS',
  'SET_OWNER',
  'GET_FEATURES',
  ...times(4, 'SET_VRING_CALL', 'SET_VRING_ERR'),
  'RESET_DEVICE',
]
const RING = ['SET_VRING_NUM', 'SET_VRING_BASE', 'SET_VRING_ADDR', 'SET_VRING_KICK']
const ENABLE_AND_CALL = [...times(4, 'SET_VRING_ENABLE'), ...times(4, 'SET_VRING_CALL')]

for (const style of ['qemu-7.2', 'qemu-10.2'] as const) {
  leakless(t, `the order of messages is that of ${style}`, async (t) => {
    const { driver, files, device, heard, finish } = await open({ style })
    const features = times(style === 'qemu-7.2' ? 1 : 2, 'SET_FEATURES')
    t.same(await heard(), CONNECT)
    const rings = [files.ring(0), files.ring(2)]
    await driver.start(rings)
    t.same(await heard(), [...features, 'ADD_MEM_REG', ...RING, ...RING, ...ENABLE_AND_CALL])
    t.same([...device.running.keys()], [0, 2])
    for (const { callFd, kickFd } of rings) {
      t.equal(drainEventfd(callFd), 1)
      t.equal(drainEventfd(kickFd), 1)
    }
    device.bases.set(2, 31)
    t.same(
      [...(await driver.stop())],
      [
        [0, 0],
        [2, 31],
      ],
    )
    t.same(await heard(), [...times(4, 'SET_VRING_ENABLE'), ...times(2, 'GET_VRING_BASE')])
    await driver.start([{ ...rings[1]!, base: 31 }])
    t.same(await heard(), [...features, ...RING, ...ENABLE_AND_CALL], 'memory is known')
    t.equal(device.running.get(2)?.base, 31)
    await driver.reset(3)
    t.same(await heard(), [...times(4, 'SET_VRING_ENABLE'), 'GET_VRING_BASE', ...times(3, 'RESET_DEVICE')])
    await finish()
  })
}

for (const style of ['qemu-7.2', 'qemu-10.2'] as const) {
  leakless(t, `inflight buffer, dirty log and back-end channel, in the order of ${style}`, async (t) => {
    const device = new RecordingDevice().offerMigration()
    const { driver, files, heard, reports, finish } = await open({ style }, device)
    const owner = CONNECT.indexOf('SET_OWNER')
    t.same(await heard(), [...CONNECT.slice(0, owner), 'SET_BACKEND_REQ_FD', ...CONNECT.slice(owner)])
    const fresh = ['GET_INFLIGHT_FD', 'SET_INFLIGHT_FD', 'SET_FEATURES']
    const ring = files.ring(2)
    await driver.start([ring])
    const old = style === 'qemu-7.2'
    const first = old ? fresh : ['SET_FEATURES', ...fresh]
    t.same(await heard(), [...first, 'ADD_MEM_REG', ...RING, ...ENABLE_AND_CALL])
    t.match(driver.inflight, { size: INFLIGHT_BYTES, queues: 4, queueSize: 128 })
    await driver.stop()
    await driver.start([ring])
    const next = old ? fresh : ['SET_FEATURES', 'SET_INFLIGHT_FD', 'SET_FEATURES']
    t.same(
      (await heard()).filter((name) => !RING.includes(name)),
      [...times(4, 'SET_VRING_ENABLE'), 'GET_VRING_BASE', ...next, ...ENABLE_AND_CALL],
    )

    const log = { fd: files.memory(), size: 4096, offset: 0 }
    t.equal(driver.features & LOG_ALL, 0n)
    await driver.startLogging(log)
    t.same(await heard(), ['SET_LOG_BASE', 'SET_FEATURES', 'SET_VRING_ADDR'])
    t.match(device.running.get(2), { flags: 1, logAddress: ring.used - USER_BASE })
    await driver.startLogging({ ...log, size: 8192 })
    t.same(await heard(), ['SET_LOG_BASE'], 'a longer one')
    await driver.stop()
    await heard()
    await driver.start([ring])
    t.same(
      (await heard()).slice(-10),
      ['SET_VRING_KICK', 'SET_LOG_BASE', ...ENABLE_AND_CALL],
      'a start during the migration',
    )
    t.match(device.running.get(2), { flags: 1 })
    await driver.stopLogging()
    t.same(await heard(), ['SET_FEATURES', 'SET_VRING_ADDR'])
    t.match(device.running.get(2), { flags: 0, logAddress: 0 })
    await driver.reset()
    t.equal(driver.inflight, undefined, 'a reset device begins with a fresh one')
    t.same(reports.codes('warn'), [])
    await finish()
  })
}

leakless(t, 'a buffer is as large as the largest ring needs it; one that is refused does not come', async (t) => {
  const device = new RecordingDevice().offerMigration()
  const { driver, files, finish } = await open({ style: 'qemu-7.2' }, device)
  await driver.start([files.ring(1), { ...files.ring(2), size: 512 }])
  t.equal(driver.inflight?.queueSize, 512)
  await driver.stop()
  device.fail('createInflight', new DeviceError('NO_BUFFER', 'not now'))
  await driver.start([files.ring(2)])
  t.equal(driver.inflight, undefined)
  await finish()
})

leakless(t, 'an inflight buffer that outlives its connection', async (t) => {
  const device = new RecordingDevice().offerMigration()
  const before = await open({}, device)
  await before.driver.start([before.files.ring(2)])
  const inflight = before.driver.takeInflight()
  await before.finish()
  const after = await open({ inflight }, device)
  t.notOk((await after.heard()).includes('RESET_DEVICE'), 'the guest knows of nothing')
  await after.driver.start([after.files.ring(2)])
  const messages = await after.heard()
  t.ok(messages.includes('SET_INFLIGHT_FD'))
  t.notOk(messages.includes('GET_INFLIGHT_FD'))
  t.equal(after.driver.inflight, inflight)
  await after.finish()
})

leakless(t, 'what was found out', async (t) => {
  const device = new RecordingDevice()
  const { driver, session, finish } = await open(
    { features: featureMask(VIRTIO_F.VERSION_1, VIRTIO_F.RING_PACKED) },
    device,
  )
  t.equal(driver.offered, device.features | 0x40000000n)
  t.equal(driver.features, 0x140000000n, 'what is wanted and offered')
  t.equal(driver.queueNum, 2)
  t.equal(driver.memorySlots, 32)
  await driver.start([])
  t.equal(session.features, 0x100000000n)
  await finish()
})

leakless(t, 'without memory slots, with them: hotplug', async (t) => {
  for (const protocolFeatures of [0x9n, 0x8009n]) {
    const { driver, files, session, heard, finish } = await open({ protocolFeatures })
    const slots = protocolFeatures !== 0x9n
    await driver.start([files.ring(2)])
    await heard()
    const dimm = { region: region(1), fd: files.memory() }
    await driver.addMemory(dimm)
    t.same(session.regions, [region(0), region(1)])
    await driver.removeMemory(dimm)
    t.same(session.regions, [region(0)])
    t.same(await heard(), slots ? ['ADD_MEM_REG', 'REM_MEM_REG'] : ['SET_MEM_TABLE', 'SET_MEM_TABLE'])
    await driver.stop()
    await driver.reset()
    t.same(await heard(), [...times(4, 'SET_VRING_ENABLE'), 'GET_VRING_BASE'], 'RESET_DEVICE was not negotiated')
    await finish()
  }
})

leakless(t, 'each ring has an error eventfd that the test can read', async (t) => {
  const { driver, files, device, finish } = await open()
  await driver.start([files.ring(3)])
  signalEventfd(device.running.get(3)!.errFd)
  t.equal(drainEventfd(driver.errFd(3)), 1)
  t.equal(drainEventfd(driver.errFd(2)), 0)
  t.equal(driver.errFd(4), -1)
  await finish()
})

leakless(t, 'a back end that refuses', async (t) => {
  const [here, there] = socketPair()
  const session = new BackendSession(here, new RecordingDevice())
  const inflight = { fd: createEventfd(), size: 4096, offset: 0, queues: 4, queueSize: 128 }
  // The buffer is closed as well.
  await t.rejects(connectFrontEnd(there, { ringCount: 5, memory: [], inflight }), { code: 'VUS_NACK' })
  t.equal((await soon('the end', session.closed)).code, 'VUS_PEER_CLOSED')
  await t.rejects(connectFrontEnd(`${tempDir(t)}/none`, { ringCount: 4, memory: [] }), { code: 'ENOENT' })
})
