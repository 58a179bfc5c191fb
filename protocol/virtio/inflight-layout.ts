/**
 * The inflight buffer (vhost-user.rst "Inflight I/O tracking"): one region per queue, one after the other, in which a
 * back end notes what it has fetched, so that its successor can fetch it again. Offsets and sizes in bytes, fields in the
 * machine's byte order.
 */

/** What the version field of a region says; 0 is a region that nobody has used yet. */
export const INFLIGHT_VERSION = 1

/** What the trackers answer to a region that holds nothing that they could go on with. */
export const INFLIGHT_UNUSABLE = -1

/** The most descriptors that a queue may have, split or packed (virtio 1.3 2.7, 2.8). */
export const INFLIGHT_SIZE_MAX = 2 ** 15

/** QueueRegionSplit: u64 features (0), then u16; from DESC on one SPLIT_STATE for each descriptor. */
export const SPLIT_REGION = {
  FEATURES: 0,
  VERSION: 8,
  DESC_NUM: 10,
  LAST_BATCH_HEAD: 12,
  USED_IDX: 14,
  DESC: 16,
} as const

/** DescStateSplit: u8 inflight, 5 bytes of padding, u16 next, u64 counter. It has the number of the chain's head. */
export const SPLIT_STATE = { INFLIGHT: 0, NEXT: 6, COUNTER: 8, SIZE: 16 } as const

/** QueueRegionPacked: as above; the wrap counters are u8, and the structure is padded to a multiple of 8. */
export const PACKED_REGION = {
  FEATURES: 0,
  VERSION: 8,
  DESC_NUM: 10,
  FREE_HEAD: 12,
  OLD_FREE_HEAD: 14,
  USED_IDX: 16,
  OLD_USED_IDX: 18,
  USED_WRAP_COUNTER: 20,
  OLD_USED_WRAP_COUNTER: 21,
  DESC: 32,
} as const

/**
 * DescStatePacked: u8 inflight, u8 padding, u16 next, u16 last, u16 num, u64 counter, and of the descriptor u16 id, u16
 * flags, u32 len, u64 addr. Entries are numbered apart from the ring: each is free, or part of the list of a chain.
 */
export const PACKED_STATE = {
  INFLIGHT: 0,
  NEXT: 2,
  LAST: 4,
  NUM: 6,
  COUNTER: 8,
  ID: 16,
  FLAGS: 18,
  LENGTH: 20,
  ADDRESS: 24,
  SIZE: 32,
} as const

/** Regions begin on cache lines. The back end may choose that; DPDK and libvhost-user chose the same. */
export const INFLIGHT_ALIGNMENT = 64

export type InflightLayout = 'split' | 'packed'

/** Bytes from one queue's region to the next one's, for queues of `size` descriptors. */
export function inflightStride(layout: InflightLayout, size: number): number {
  const bytes =
    layout === 'split' ? SPLIT_REGION.DESC + SPLIT_STATE.SIZE * size : PACKED_REGION.DESC + PACKED_STATE.SIZE * size
  return Math.ceil(bytes / INFLIGHT_ALIGNMENT) * INFLIGHT_ALIGNMENT
}
