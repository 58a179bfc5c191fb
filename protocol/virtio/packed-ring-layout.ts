/** The packed virtqueue in memory (virtio 1.3 2.8). All fields little endian; offsets and sizes in bytes. */

/** struct pvirtq_desc (virtio 1.3 2.8.13); a table of indirect descriptors has the same, without ids (2.8.7). */
export const PACKED_DESC = { ADDRESS: 0, LENGTH: 8, ID: 12, FLAGS: 14, SIZE: 16 } as const

/** Flags of a descriptor (virtio 1.3 2.8.1, 2.8.3, 2.8.6, 2.8.7). AVAIL and USED are those of `packedMark`. */
export const PACKED_DESC_F = { NEXT: 1, WRITE: 2, INDIRECT: 4, AVAIL: 1 << 7, USED: 1 << 15 } as const

/**
 * struct pvirtq_event_suppress (virtio 1.3 2.8.14): a position of 15 bits with its lap's wrap counter in the highest
 * one, and flags.
 */
export const PACKED_EVENT = { POSITION: 0, FLAGS: 2, SIZE: 4 } as const

/** Values of the flags of struct pvirtq_event_suppress; DESC only with VIRTIO_F_EVENT_IDX; 3 is reserved. */
export const PACKED_EVENT_F = { ENABLE: 0, DISABLE: 1, DESC: 2 } as const

/** Alignment of the descriptor ring and of the event suppression structures (virtio 1.3 2.8.10.1). */
export const PACKED_ALIGNMENT = { RING: 16, EVENT: 4 } as const

/** The most descriptors that a ring may have (virtio 1.3 2.8); any number up to this will do. */
export const PACKED_SIZE_MAX = 2 ** 15

/** Bytes of the descriptor ring of a queue of `size` descriptors. */
export function packedRingBytes(size: number): number {
  return PACKED_DESC.SIZE * size
}

/** A place in the ring with the wrap counter of the lap, as event suppression structures and ring bases have it: 16 bits. */
export function packedPosition(index: number, wrap: number): number {
  return index | (wrap << 15)
}

/** Descriptors from one position on to another: 0 to 2 * size - 1, for two laps make a circle. Both are within the ring. */
export function packedDistance(from: number, to: number, size: number): number {
  const distance = (to & 0x7fff) - (from & 0x7fff) + (((from ^ to) & 0x8000) === 0 ? 0 : size)
  return distance < 0 ? distance + 2 * size : distance
}

/**
 * Whether moving on by `count` descriptors (at most `size`) from position `before` passes position `event` (virtio 1.3
 * 2.8.10). An event beyond the ring is answered with yes: a notification too many does no harm.
 */
export function packedNeedsEvent(event: number, before: number, count: number, size: number): boolean {
  return (event & 0x7fff) >= size || packedDistance(before, event, size) < count
}

/**
 * Whether a 32-bit base can be where a packed ring of `size` descriptors stands (vhost-user.rst, "A vring descriptor
 * index for packed virtqueues"): the next descriptor to fetch in the low half, the next one to use in the high half,
 * and between the two no more than the ring holds.
 */
export function isPackedBase(base: number, size: number): boolean {
  const available = base & 0xffff
  const used = base >>> 16
  if ((available & 0x7fff) >= size || (used & 0x7fff) >= size) return false
  return packedDistance(used, available, size) <= size
}

/**
 * The base of a ring in which nothing is in flight, from what SET_VRING_BASE says: only its low half counts, as DPDK's
 * and SPDK's front ends leave the high one zero.
 */
export function settledPackedBase(base: number): number {
  return ((base & 0xffff) | (base << 16)) >>> 0
}
