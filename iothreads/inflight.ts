import { viewMemory } from 'memfd-mmap'
import { INFLIGHT_UNUSABLE, SplitInflight, usedBytes } from 'vhost-user-protocol-ts'
import type { HostRing } from './messages.js'

/** Who notes what is in flight in a ring: SplitInflight or PackedInflight, which say how it is called. */
export interface Inflight {
  /** Notes a chain: where it began in the ring, what stands for it there. Its number for `complete`; negative: no room. */
  fetch(position: number, buffer: number): number
  complete(noted: number): void
  beforePublish(): void
  afterPublish(): void
}

/** What a ring's predecessor left, and who notes what is in flight from now on. */
export interface Takeover {
  readonly inflight: Inflight
  /** The numbers of chains that have to be served again, in order. */
  readonly recovered: Int32Array
  /** Where the ring goes on. */
  readonly base: number
}

/**
 * Takes over the inflight region of a ring that is about to be served; null: it has none.
 *
 * @returns INFLIGHT_UNUSABLE if there is nothing in the region to go on with: the ring cannot be served
 */
export function takeOver(ring: HostRing): Takeover | null | typeof INFLIGHT_UNUSABLE {
  const area = ring.inflight
  if (area === undefined) return null
  const inflight = new SplitInflight(viewMemory(area.address, area.length), area.entries)
  const recovered = inflight.start(usedIndex(ring), ring.base)
  if (recovered === INFLIGHT_UNUSABLE) return INFLIGHT_UNUSABLE
  return { inflight, recovered: inflight.heads.slice(0, recovered), base: inflight.base }
}

/** used.idx as the driver sees it (virtio 1.3 2.7.8). */
function usedIndex({ used, size }: HostRing): number {
  return Atomics.load(new Uint16Array(viewMemory(used, usedBytes(size)), 0, 2), 1)
}
