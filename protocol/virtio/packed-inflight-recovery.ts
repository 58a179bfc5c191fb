import { PACKED_REGION, PACKED_STATE } from './inflight-layout.js'
import type { PackedInflightRegion, PackedStand } from './packed-inflight-region.js'
import { PACKED_DESC, PACKED_DESC_F, packedPosition } from './packed-ring-layout.js'

/** What a region and its ring say of the requests that a process has left behind. Private copies: checked once, they stay. */
export interface PackedRemains {
  readonly stand: PackedStand
  /** First entries of the chains in flight, in the order of the entries. */
  readonly heads: number[]
  /** By entry: the next one in its chain or in the free list. */
  readonly next: Uint16Array
  /** By first entry: the chain's last one, and its descriptors. */
  readonly last: Uint16Array
  readonly num: Uint16Array
  /** Descriptors in flight, and entries that are free. */
  readonly held: number
  readonly free: number
}

const { DESC } = PACKED_REGION
const { SIZE, INFLIGHT, NEXT, NUM } = PACKED_STATE
const { AVAIL, USED } = PACKED_DESC_F
const MARK = AVAIL | USED

/** The bits that make a descriptor the device's in a lap with this wrap counter (virtio 1.3 2.8.1). */
const availableMark = (position: number): number => ((position & 0x8000) !== 0 ? AVAIL : USED)
const usedMark = (position: number): number => ((position & 0x8000) !== 0 ? MARK : 0)
const flagsAt = (position: number): number => ((position & 0x7fff) * PACKED_DESC.SIZE + PACKED_DESC.FLAGS) / 2

/** A position `count` descriptors on, at most a lap. */
export function packedAdvance(position: number, count: number, size: number): number {
  const index = (position & 0x7fff) + count
  const wrap = position >>> 15
  return index < size ? packedPosition(index, wrap) : packedPosition(index - size, wrap ^ 1)
}

/** The last batch as it counts: published, or never begun. */
function settled(region: PackedInflightRegion, ring: Uint16Array, size: number): PackedStand | undefined {
  const stands = region.stands(size)
  if (stands === undefined) return undefined
  const { current, old } = stands
  // The whole position, not only the index, as the specification has it: a batch may be as long as the ring.
  if (current.used === old.used) return old
  const published = (ring[flagsAt(old.used)]! & MARK) !== availableMark(old.used)
  return published ? current : old
}

/**
 * Reads what is in flight in a region (vhost-user.rst "Inflight I/O tracking", packed, "When reconnecting"). Changes
 * nothing. Undefined if it makes no sense: every entry is either free or part of one chain, and no list goes in circles.
 *
 * @param ring the descriptor ring in 16-bit words @param size its descriptors
 */
export function readPackedRemains(
  region: PackedInflightRegion,
  ring: Uint16Array,
  size: number,
): PackedRemains | undefined {
  const { entries, halves, bytes } = region
  const stand = settled(region, ring, size)
  if (stand === undefined) return undefined
  const next = new Uint16Array(entries)
  const last = new Uint16Array(entries)
  const num = new Uint16Array(entries)
  const seen = new Uint8Array(entries)
  /** Follows links from `entry` on, at most `limit` of them: how many are there, each seen for the first time. */
  let end = 0
  let beyond = 0
  const follow = (entry: number, limit: number): number => {
    let count = 0
    while (count < limit && entry < entries && seen[entry] === 0) {
      seen[entry] = 1
      end = entry
      entry = halves[(DESC + SIZE * entry + NEXT) / 2]!
      next[end] = entry
      count++
    }
    beyond = entry
    return count
  }

  const free = follow(stand.free, entries)
  // The free list ends behind the last entry, not at one that was seen.
  if (beyond < entries) return undefined
  const heads: number[] = []
  let held = 0
  for (let entry = 0; entry < entries; entry++) {
    if (seen[entry] === 1 || bytes[DESC + SIZE * entry + INFLIGHT] !== 1) continue
    const count = halves[(DESC + SIZE * entry + NUM) / 2]!
    if (count === 0 || count > size - held || follow(entry, count) !== count) return undefined
    heads.push(entry)
    last[entry] = end
    num[entry] = count
    held += count
  }
  return free + held === entries ? { stand, heads, next, last, num, held, free } : undefined
}

/**
 * Makes region and ring what `remains` says. Killed meanwhile, the successor reads the same remains again.
 */
export function settlePackedRemains(
  region: PackedInflightRegion,
  ring: Uint16Array,
  size: number,
  remains: PackedRemains,
): void {
  const { used, free } = remains.stand
  // In this order: as long as the positions differ, the ring decides again, and decides the same.
  region.storeFree(free, free)
  region.fence()
  region.storeUsed(used, used)
  for (let i = 0, entry = free; i < remains.free; i++, entry = remains.next[entry]!) {
    region.bytes[DESC + SIZE * entry + INFLIGHT] = 0
  }
  withdraw(ring, size, used, remains.held)
}

/**
 * Takes back used descriptors that were written but not published: of a batch all but the first one have their flags
 * before. The driver would take them for published as soon as the one before them is, with another batch.
 */
function withdraw(ring: Uint16Array, size: number, position: number, count: number): void {
  for (let i = 0; i < count; i++) {
    const at = flagsAt(position)
    const flags = ring[at]!
    if ((flags & MARK) === usedMark(position)) ring[at] = (flags & ~MARK) | availableMark(position)
    position = packedAdvance(position, 1, size)
  }
}
