import { viewMemory } from 'memfd-mmap'
import {
  type DescriptorRing,
  INFLIGHT_UNUSABLE,
  PACKED_DESC,
  PackedInflight,
  packedRingBytes,
  SplitInflight,
  usedBytes,
} from 'vhost-user-protocol-ts'
import type { HostRing, InflightArea } from './messages.js'

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
  /** What these chains are to be read from; null: from the ring itself. */
  readonly ring: DescriptorRing | null
  /** Where a recovered chain begins in there. It stays until the next one is asked for. */
  readonly locate: (noted: number) => number
}

/**
 * Takes over the inflight region of a ring that is about to be served; null: it has none.
 *
 * @returns INFLIGHT_UNUSABLE if there is nothing in the region to go on with: the ring cannot be served
 */
export function takeOver(ring: HostRing): Takeover | null | typeof INFLIGHT_UNUSABLE {
  const area = ring.inflight
  if (area === undefined) return null
  if (ring.packed) return takeOverPacked(ring, area)
  const inflight = new SplitInflight(viewMemory(area.address, area.length), area.entries)
  const recovered = inflight.start(usedIndex(ring), ring.base)
  if (recovered === INFLIGHT_UNUSABLE) return INFLIGHT_UNUSABLE
  return { inflight, recovered: inflight.heads.slice(0, recovered), base: inflight.base, ring: null, locate: itself }
}

const itself = (noted: number): number => noted

/** The places of its chains in the ring may have been used for others since: the region has copies of the descriptors. */
function takeOverPacked({ desc, size, base }: HostRing, area: InflightArea): Takeover | typeof INFLIGHT_UNUSABLE {
  const region = viewMemory(area.address, area.length)
  const inflight = new PackedInflight(region, area.entries, viewMemory(desc, packedRingBytes(size)), size)
  const recovered = inflight.start(base)
  if (recovered === INFLIGHT_UNUSABLE) return INFLIGHT_UNUSABLE
  const copy = new Int32Array((PACKED_DESC.SIZE / 4) * size)
  return {
    inflight,
    recovered: inflight.heads.slice(0, recovered),
    base: inflight.base,
    ring: { packed: true, size, desc: new DataView(copy.buffer) },
    locate: (noted) => {
      inflight.restore(noted, copy)
      return 0
    },
  }
}

/** used.idx as the driver sees it (virtio 1.3 2.7.8). */
function usedIndex({ used, size }: HostRing): number {
  return Atomics.load(new Uint16Array(viewMemory(used, usedBytes(size)), 0, 2), 1)
}
