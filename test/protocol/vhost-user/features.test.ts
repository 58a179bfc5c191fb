import t from 'tap'
import {
  featureMask,
  featureNames,
  hasFeature,
  protocolFeatureNames,
  VHOST_F,
  VHOST_USER_F,
  VHOST_USER_PROTOCOL_F,
  VIRTIO_F,
  VIRTIO_SCSI_F,
} from 'vhost-user-protocol-ts'

t.test('masks that front ends were seen to send', async (t) => {
  const seabios = featureMask(VIRTIO_F.VERSION_1, VHOST_USER_F.PROTOCOL_FEATURES)
  t.equal(seabios, 0x140000000n)
  const linux = featureMask(
    VIRTIO_F.VERSION_1,
    VHOST_USER_F.PROTOCOL_FEATURES,
    VIRTIO_F.INDIRECT_DESC,
    VIRTIO_F.EVENT_IDX,
    VIRTIO_SCSI_F.HOTPLUG,
    VIRTIO_SCSI_F.CHANGE,
  )
  t.equal(linux, 0x170000006n)
  t.equal(linux | featureMask(VHOST_F.LOG_ALL), 0x174000006n)
  const packed = featureMask(VIRTIO_F.RING_PACKED, VIRTIO_F.INDIRECT_DESC) | seabios | 0x6n
  t.equal(packed, 0x550000006n)
  const protocol = featureMask(
    VHOST_USER_PROTOCOL_F.MQ,
    VHOST_USER_PROTOCOL_F.LOG_SHMFD,
    VHOST_USER_PROTOCOL_F.REPLY_ACK,
    VHOST_USER_PROTOCOL_F.BACKEND_REQ,
    VHOST_USER_PROTOCOL_F.INFLIGHT_SHMFD,
    VHOST_USER_PROTOCOL_F.RESET_DEVICE,
    VHOST_USER_PROTOCOL_F.CONFIGURE_MEM_SLOTS,
    VHOST_USER_PROTOCOL_F.STATUS,
  )
  t.equal(protocol, 0x1b02bn)
})

t.test('a bit is in a mask or it is not', async (t) => {
  t.equal(featureMask(), 0n)
  t.equal(featureMask(63), 1n << 63n)
  t.equal(hasFeature(1n << 63n, 63), true)
  t.equal(hasFeature(1n << 63n, 62), false)
  t.equal(hasFeature(0n, 0), false)
})

t.test('names', async (t) => {
  t.same(featureNames(0x170000006n), [
    'HOTPLUG',
    'CHANGE',
    'INDIRECT_DESC',
    'EVENT_IDX',
    'PROTOCOL_FEATURES',
    'VERSION_1',
  ])
  t.same(featureNames(featureMask(12, VHOST_F.LOG_ALL)), ['bit 12', 'LOG_ALL'])
  t.same(protocolFeatureNames(0xa009n), ['MQ', 'REPLY_ACK', 'RESET_DEVICE', 'CONFIGURE_MEM_SLOTS'])
  t.same(protocolFeatureNames(1n << 40n), ['bit 40'])
})

t.test('no two protocol features share a bit, nor do two device features', async (t) => {
  for (const table of [[VHOST_USER_PROTOCOL_F], [VIRTIO_F, VIRTIO_SCSI_F, VHOST_F, VHOST_USER_F]]) {
    const bits = table.flatMap((features) => Object.values(features))
    t.equal(new Set(bits).size, bits.length)
  }
})
