/** The split virtqueue in memory (virtio 1.3 2.7). All fields little endian; offsets and sizes in bytes. */

/** struct virtq_desc (virtio 1.3 2.7.5). */
export const DESC = { ADDRESS: 0, LENGTH: 8, FLAGS: 12, NEXT: 14, SIZE: 16 } as const
export const DESC_F = { NEXT: 1, WRITE: 2, INDIRECT: 4 } as const

/** struct virtq_avail (virtio 1.3 2.7.6): flags, idx, ring[size], used_event. */
export const AVAIL_F_NO_INTERRUPT = 1
/** struct virtq_used (virtio 1.3 2.7.8): flags, idx, ring[size] of {u32 id, u32 len}, avail_event. */
export const USED_F_NO_NOTIFY = 1

/** Bytes of the descriptor table of a queue of `size` descriptors. */
export function descBytes(size: number): number {
  return DESC.SIZE * size
}

/** Bytes of the available ring with its used_event. */
export function availBytes(size: number): number {
  return 6 + 2 * size
}

/** Bytes of the used ring with its avail_event. */
export function usedBytes(size: number): number {
  return 6 + 8 * size
}

/** Byte offset of used_event in the available ring. */
export function usedEventOffset(size: number): number {
  return 4 + 2 * size
}

/** Byte offset of avail_event in the used ring. */
export function availEventOffset(size: number): number {
  return 4 + 8 * size
}

/** Whether moving an index from `before` to `after` passes `event` (vring_need_event, virtio 1.3 2.7.7.1). All 16 bits. */
export function needsEvent(event: number, after: number, before: number): boolean {
  return ((after - event - 1) & 0xffff) < ((after - before) & 0xffff)
}
