import { CHAIN, DESC, PACKED_DESC_F, packedPosition, settledPackedBase } from 'vhost-user-protocol-ts'
import type { Random } from '../random.js'
import type { Look } from '../vhost/naive-chain.js'
import { naivePackedChain, type PackedWalk } from '../vhost/naive-packed-chain.js'
import { TABLES_RANGE } from './random-ring.js'
import type { RawGuest, RawRing } from './raw-guest.js'

const { AVAIL, USED } = PACKED_DESC_F
const MARK = AVAIL | USED

/** Where a packed ring begins, and how many of its descriptors from there on are available. */
export interface PackedPlan {
  readonly index: number
  readonly wrap: number
  readonly available: number
  /** For SET_VRING_BASE. */
  readonly base: number
}

const view = ({ buffer, byteOffset, length }: Uint8Array): DataView => new DataView(buffer, byteOffset, length)

/**
 * Makes a packed ring of a stopped split one: descriptors that follow each other, an id where that one has a link. Some of
 * them, from some place on, are available; the others look as if they had been used in the lap before.
 */
export function packRing(guest: RawGuest, ring: RawRing, random: Random): PackedPlan {
  const { size } = ring
  const index = random.below(size)
  const wrap = random.below(2)
  const available = random.once(4) ? random.below(size + 1) : random.below(12)
  const { buffer, byteOffset, length } = ring.desc
  const table = new DataView(buffer, byteOffset, length)
  for (let i = 0; i < size; i++) {
    const place = (index + i) % size
    const lap = index + i < size ? wrap : wrap ^ 1
    swap(table, place, i < available ? (lap === 1 ? AVAIL : USED) : lap === 1 ? 0 : MARK)
  }
  const tables = view(guest.memory.bytes(TABLES_RANGE.address, TABLES_RANGE.length))
  for (let i = 0; i < TABLES_RANGE.length / DESC.SIZE; i++) swap(tables, i, random.next() & MARK)
  return { index, wrap, available, base: settledPackedBase(packedPosition(index, wrap)) }
}

/** Has the flags and the link of a descriptor change places, the former with these marks. */
function swap(table: DataView, i: number, mark: number): void {
  const at = DESC.SIZE * i
  const flags = table.getUint16(at + DESC.FLAGS, true)
  table.setUint16(at + DESC.FLAGS, table.getUint16(at + DESC.NEXT, true), true)
  table.setUint16(at + DESC.NEXT, (flags & ~MARK) | mark, true)
}

/**
 * The chains that a device may find one after the other, the last of which may be broken. Undefined if together they are
 * more than the ring, which a device need not find at any certain chain.
 */
export function packedChains(look: Look, ring: RawRing, { index, available }: PackedPlan): PackedWalk[] | undefined {
  const { buffer, byteOffset, length } = ring.desc
  const table = new DataView(buffer, byteOffset, length)
  const walks: PackedWalk[] = []
  for (let done = 0; done < available; ) {
    const walk = naivePackedChain(look, table, ring.size, true, (index + done) % ring.size)
    walks.push(walk)
    if (walk.end !== CHAIN.END) return walks
    done += walk.count!
    if (done > ring.size) return undefined
  }
  return walks
}
