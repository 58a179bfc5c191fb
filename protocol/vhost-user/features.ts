/** Bit numbers of the device-independent virtio features (virtio 1.3 chapter 6; 24 and 27 are legacy, 6.4). */
export const VIRTIO_F = {
  NOTIFY_ON_EMPTY: 24,
  ANY_LAYOUT: 27,
  INDIRECT_DESC: 28,
  EVENT_IDX: 29,
  VERSION_1: 32,
  ACCESS_PLATFORM: 33,
  RING_PACKED: 34,
  IN_ORDER: 35,
  ORDER_PLATFORM: 36,
  SR_IOV: 37,
  NOTIFICATION_DATA: 38,
  NOTIF_CONFIG_DATA: 39,
  RING_RESET: 40,
  ADMIN_VQ: 41,
} as const

/** Bit numbers of the SCSI host device's features (virtio 1.3 5.6.3). */
export const VIRTIO_SCSI_F = { INOUT: 0, HOTPLUG: 1, CHANGE: 2, T10_PI: 3 } as const

/** The feature bit that vhost adds for dirty logging (vhost-user.rst "Migration"). */
export const VHOST_F = { LOG_ALL: 26 } as const

/** The virtio feature bit that vhost-user borrows for its own negotiation (vhost-user.rst "Communication"). */
export const VHOST_USER_F = { PROTOCOL_FEATURES: 30 } as const

/** Bit numbers of the protocol features (vhost-user.rst "Protocol features"). */
export const VHOST_USER_PROTOCOL_F = {
  MQ: 0,
  LOG_SHMFD: 1,
  RARP: 2,
  REPLY_ACK: 3,
  NET_MTU: 4,
  BACKEND_REQ: 5,
  CROSS_ENDIAN: 6,
  CRYPTO_SESSION: 7,
  PAGEFAULT: 8,
  CONFIG: 9,
  BACKEND_SEND_FD: 10,
  HOST_NOTIFIER: 11,
  INFLIGHT_SHMFD: 12,
  RESET_DEVICE: 13,
  INBAND_NOTIFICATIONS: 14,
  CONFIGURE_MEM_SLOTS: 15,
  STATUS: 16,
  XEN_MMAP: 17,
  SHARED_OBJECT: 18,
  DEVICE_STATE: 19,
  GET_VRING_BASE_INFLIGHT: 20,
  GPA_ADDRESSES: 21,
  SHMEM: 22,
  GET_VRING_BASE_SKIP_DRAIN: 23,
} as const

/** The mask that has exactly these bits set. */
export function featureMask(...bits: readonly number[]): bigint {
  let mask = 0n
  for (const bit of bits) mask |= 1n << BigInt(bit)
  return mask
}

/** Whether `mask` has bit number `bit`. */
export function hasFeature(mask: bigint, bit: number): boolean {
  return ((mask >> BigInt(bit)) & 1n) === 1n
}

const namesOf = (...tables: Readonly<Record<string, number>>[]): Map<number, string> =>
  new Map(tables.flatMap((table) => Object.entries(table).map(([name, bit]) => [bit, name] as const)))

const DEVICE_NAMES = namesOf(VIRTIO_F, VIRTIO_SCSI_F, VHOST_F, VHOST_USER_F)
const PROTOCOL_NAMES = namesOf(VHOST_USER_PROTOCOL_F)

function names(mask: bigint, table: Map<number, string>): string[] {
  const found: string[] = []
  for (let bit = 0; bit < 64; bit++) if (hasFeature(mask, bit)) found.push(table.get(bit) ?? `bit ${bit}`)
  return found
}

/** The names of the virtio, scsi and vhost bits in a feature mask, lowest bit first; `bit 12` for one without a name. */
export function featureNames(mask: bigint): string[] {
  return names(mask, DEVICE_NAMES)
}

/** The names of the bits in a protocol feature mask, lowest bit first. */
export function protocolFeatureNames(mask: bigint): string[] {
  return names(mask, PROTOCOL_NAMES)
}
