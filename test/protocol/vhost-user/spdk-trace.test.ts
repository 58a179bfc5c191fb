import { drainEventfd } from 'memfd-mmap'
import t from 'tap'
import { featureMask, VHOST_USER_F, VHOST_USER_PROTOCOL_F, VIRTIO_F, VIRTIO_SCSI_F } from 'vhost-user-protocol-ts'
import { Files, Harness, leakless, MEMORY_SIZE, USER_BASE } from '../../support/vhost-user/harness.js'
import { RecordingDevice } from '../../support/vhost-user/recording-device.js'

const WANTED = featureMask(
  VIRTIO_F.VERSION_1,
  VHOST_USER_F.PROTOCOL_FEATURES,
  VIRTIO_F.EVENT_IDX,
  VIRTIO_SCSI_F.INOUT,
  VIRTIO_SCSI_F.HOTPLUG,
)
const WANTED_PROTOCOL = featureMask(VHOST_USER_PROTOCOL_F.MQ, VHOST_USER_PROTOCOL_F.CONFIG)

/** Guest addresses are user addresses there. */
const memory = { guestAddress: USER_BASE, size: MEMORY_SIZE, userAddress: USER_BASE, mmapOffset: 0 }

for (const mq of [true, false]) {
  leakless(t, `SPDK's initiator ${mq ? 'with' : 'without'} MQ offered`, async (t) => {
    const files = new Files()
    const device = new RecordingDevice()
    if (!mq) device.protocolFeatures &= ~featureMask(VHOST_USER_PROTOCOL_F.MQ)
    // Never an acknowledgement.
    const { frontEnd, reports, ...harness } = new Harness(device, { needReply: () => false })
    const rings = [0, 1, 2, 3].map((index) => ({ ...files.ring(index), size: 512 }))

    await frontEnd.setOwner()
    await frontEnd.setFeatures((await frontEnd.getFeatures()) & WANTED)
    await frontEnd.setProtocolFeatures((await frontEnd.getProtocolFeatures()) & WANTED_PROTOCOL)
    for (const { index } of rings) await frontEnd.setVringEnable(index, true)
    t.equal(await frontEnd.getQueueNum(), 2)
    for (const { index, callFd } of rings) await frontEnd.setVringCall(index, callFd)
    await frontEnd.setMemTable([memory], [files.memory()])
    await frontEnd.getFeatures()
    t.same(device.take(), ['setFeatures', 'setMemory'])
    for (const { index, size, desc, avail, used, kickFd } of rings) {
      await frontEnd.setVringNum(index, size)
      await frontEnd.setVringBase(index, 0)
      await frontEnd.setVringAddr({ index, flags: 0, desc, avail, used, log: 0 })
      await frontEnd.setVringKick(index, kickFd)
    }
    await frontEnd.barrier()
    t.same(device.take(), ['startRing 0', 'startRing 1', 'startRing 2', 'startRing 3'])
    t.match(device.running.get(2), { size: 512, features: WANTED & device.features })
    for (const { callFd } of rings) t.equal(drainEventfd(callFd), 1, 'spurious, and harmless')

    device.bases.set(2, 12)
    for (const { index } of rings) t.equal(await frontEnd.getVringBase(index), index === 2 ? 12 : 0)
    await frontEnd.setMemTable([memory], [files.memory()])
    await frontEnd.getFeatures()
    t.same(device.take(), ['stopRing 0', 'stopRing 1', 'stopRing 2', 'stopRing 3', 'setMemory'])
    frontEnd.close()
    t.equal((await harness.session.closed).code, 'VUS_PEER_CLOSED')
    t.same(reports.codes('warn'), [])
    files.close()
  })
}

leakless(t, 'without PROTOCOL_FEATURES accepted, the rings are enabled at once', async (t) => {
  const files = new Files()
  const { frontEnd, device, ...harness } = new Harness(new RecordingDevice(), { needReply: () => false })
  const ring = files.ring(2)
  await frontEnd.setOwner()
  await frontEnd.setFeatures(featureMask(VIRTIO_F.VERSION_1))
  await frontEnd.setMemTable([memory], [files.memory()])
  await frontEnd.setVringNum(2, ring.size)
  await frontEnd.setVringAddr({ index: 2, flags: 0, desc: ring.desc, avail: ring.avail, used: ring.used, log: 0 })
  await frontEnd.setVringKick(2, ring.kickFd)
  t.equal(await frontEnd.getQueueNum(), 2, 'answered all the same')
  t.same(device.take(), ['setFeatures', 'setMemory', 'startRing 2'])
  frontEnd.close()
  await harness.session.closed
  files.close()
})

leakless(t, 'no memory at all (--no-huge): accepted, though of no use', async (t) => {
  const harness = new Harness(new RecordingDevice(), { needReply: () => false })
  await harness.frontEnd.setMemTable([], [])
  await harness.frontEnd.barrier()
  t.same(harness.device.take(), ['setMemory'])
  await harness.leave()
})
