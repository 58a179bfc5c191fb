import t from 'tap'
import {
  DeviceError,
  featureMask,
  VHOST_F,
  VHOST_USER_F,
  VHOST_USER_PROTOCOL_F,
  VIRTIO_F,
} from 'vhost-user-protocol-ts'
import { Files, Harness, leakless } from '../../../support/vhost-user/harness.js'
import { RecordingDevice } from '../../../support/vhost-user/recording-device.js'

const PROTOCOL_FEATURES = featureMask(VHOST_USER_F.PROTOCOL_FEATURES)
const LOG_ALL = featureMask(VHOST_F.LOG_ALL)

leakless(t, 'PROTOCOL_FEATURES is offered always, and not told to the device', async (t) => {
  const device = new RecordingDevice()
  device.features = featureMask(VIRTIO_F.VERSION_1)
  const harness = new Harness(device)
  const { frontEnd } = harness
  t.equal(await frontEnd.getFeatures(), device.features | PROTOCOL_FEATURES)
  await frontEnd.setFeatures(device.features | PROTOCOL_FEATURES)
  await frontEnd.barrier()
  t.same(device.calls, [{ method: 'setFeatures', args: [featureMask(VIRTIO_F.VERSION_1)] }])
  t.equal(harness.session.features, featureMask(VIRTIO_F.VERSION_1))
  await harness.leave()
})

leakless(t, 'protocol features are those of the device, also before SET_FEATURES', async (t) => {
  const harness = new Harness()
  const { frontEnd, device, session } = harness
  t.equal(await frontEnd.getProtocolFeatures(), device.protocolFeatures)
  t.equal(session.protocolFeatures, 0n)
  await frontEnd.setProtocolFeatures(featureMask(VHOST_USER_PROTOCOL_F.MQ))
  await frontEnd.barrier()
  t.equal(session.protocolFeatures, featureMask(VHOST_USER_PROTOCOL_F.MQ))
  await harness.leave()
})

leakless(t, 'the number of queues is that of the request queues', async (t) => {
  const device = new RecordingDevice()
  device.ringCount = 256
  const harness = new Harness(device)
  t.equal(await harness.frontEnd.getQueueNum(), 254)
  await harness.leave()
})

leakless(t, 'features that the device refuses are not in force', async (t) => {
  const harness = new Harness()
  const { frontEnd, device, session } = harness
  await harness.negotiate()
  const before = session.features
  device.fail('setFeatures', new DeviceError('NOT_NOW', 'busy'))
  await t.rejects(frontEnd.setFeatures(0n), { code: 'VUS_NACK' })
  t.equal(session.features, before)
  await harness.leave()
})

leakless(t, 'while a ring is active, only logging is turned on and off', async (t) => {
  const files = new Files()
  const device = new RecordingDevice()
  device.features |= LOG_ALL
  const harness = new Harness(device)
  const { frontEnd, session } = harness
  await harness.negotiate()
  const base = PROTOCOL_FEATURES | featureMask(VIRTIO_F.VERSION_1)
  await frontEnd.setFeatures(base)
  const ring = files.ring(2)
  const address = { index: 2, flags: 0, desc: ring.desc, avail: ring.avail, used: ring.used, log: 0 }
  await frontEnd.setVringNum(2, ring.size)
  await frontEnd.setVringAddr(address)
  await frontEnd.setVringKick(2, ring.kickFd)
  await frontEnd.setVringEnable(2, true)
  device.take()
  await frontEnd.setFeatures(base | LOG_ALL)
  device.bases.set(2, 7)
  await frontEnd.setVringAddr({ ...address, flags: 1, log: 0x1000 })
  t.same(device.take(), ['setFeatures', 'stopRing 2', 'startRing 2'])
  t.match(device.running.get(2), { flags: 1, logAddress: 0x1000, base: 7, features: session.features })
  await t.rejects(frontEnd.setFeatures(base | featureMask(VIRTIO_F.EVENT_IDX)), { code: 'VUS_NACK' })
  t.same(harness.reports.codes('warn'), ['VUS_FEATURES_WHILE_RUNNING'])
  await frontEnd.setFeatures(base)
  await frontEnd.setVringAddr(address)
  t.match(device.running.get(2), { flags: 0 })
  await harness.leave()
  files.close()
})
