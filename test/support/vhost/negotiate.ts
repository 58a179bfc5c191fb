import {
  type FrontEnd,
  featureMask,
  hasFeature,
  VHOST_USER_F,
  VHOST_USER_PROTOCOL_F,
  VIRTIO_F,
  VIRTIO_SCSI_F,
} from 'vhost-user-protocol-ts'
import { ringKind } from '../ring-kind.js'

/** What a Linux guest under QEMU asks for. */
export const GUEST_FEATURES = featureMask(
  VIRTIO_F.VERSION_1,
  VHOST_USER_F.PROTOCOL_FEATURES,
  VIRTIO_F.EVENT_IDX,
  VIRTIO_F.INDIRECT_DESC,
  VIRTIO_SCSI_F.HOTPLUG,
  VIRTIO_SCSI_F.CHANGE,
)

const PACKED = featureMask(VIRTIO_F.RING_PACKED)

/** With what `packed=on` adds, if tests are to use packed rings. */
function guestFeatures(): bigint {
  return ringKind.packed ? GUEST_FEATURES | PACKED : GUEST_FEATURES
}

/** What QEMU takes of what is offered; without the inflight buffer and dirty logging, which tests set up themselves. */
export const QEMU_PROTOCOL_FEATURES = featureMask(
  VHOST_USER_PROTOCOL_F.MQ,
  VHOST_USER_PROTOCOL_F.REPLY_ACK,
  VHOST_USER_PROTOCOL_F.RESET_DEVICE,
  VHOST_USER_PROTOCOL_F.CONFIGURE_MEM_SLOTS,
)

export interface NegotiationOptions {
  /** Features wanted; those that are offered are taken. Default GUEST_FEATURES, and RING_PACKED as `ringKind` says. */
  readonly features?: bigint
  /** Default QEMU_PROTOCOL_FEATURES. */
  readonly protocolFeatures?: bigint
}

export interface Negotiated {
  readonly features: bigint
  readonly protocolFeatures: bigint
  /** Request queues that the back end has, and its memory slots; 0 where it was not asked. */
  readonly queueNum: number
  readonly maxMemSlots: number
}

/** Negotiates in QEMU's order, as far as SET_OWNER and the GET_FEATURES after it. Virtio features are not set yet. */
export async function negotiate(frontEnd: FrontEnd, o: NegotiationOptions): Promise<Negotiated> {
  const features = (await frontEnd.getFeatures()) & (o.features ?? guestFeatures())
  let protocolFeatures = 0n
  let queueNum = 0
  let maxMemSlots = 0
  if (hasFeature(features, VHOST_USER_F.PROTOCOL_FEATURES)) {
    protocolFeatures = (await frontEnd.getProtocolFeatures()) & (o.protocolFeatures ?? QEMU_PROTOCOL_FEATURES)
    await frontEnd.setProtocolFeatures(protocolFeatures)
    if (hasFeature(protocolFeatures, VHOST_USER_PROTOCOL_F.MQ)) queueNum = await frontEnd.getQueueNum()
    if (hasFeature(protocolFeatures, VHOST_USER_PROTOCOL_F.CONFIGURE_MEM_SLOTS)) {
      maxMemSlots = await frontEnd.getMaxMemSlots()
    }
  }
  await frontEnd.setOwner()
  await frontEnd.getFeatures()
  return { features, protocolFeatures, queueNum, maxMemSlots }
}
