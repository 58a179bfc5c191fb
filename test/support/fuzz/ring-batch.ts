import {
  DESC,
  DESC_F,
  PACKED_DESC_F,
  PACKED_EVENT,
  packedPosition,
  settledPackedBase,
  usedEventOffset,
  VQ,
} from 'vhost-user-protocol-ts'
import type { Random } from '../random.js'
import {
  DATA_BYTES,
  type FuzzMemory,
  MAX_RING_SIZE,
  MAX_RINGS,
  PLACE,
  TABLE_BYTES,
  TABLES_PER_RING,
} from './fuzz-memory.js'
import { type Pieces, RequestFuzz } from './request-fuzz.js'
import { LENGTHS } from './scsi-fuzz.js'

const { NEXT, WRITE, INDIRECT } = DESC_F
const { AVAIL, USED } = PACKED_DESC_F
const MARK = AVAIL | USED
const KIB = 2 ** 10

/**
 * `honest`: chains as a driver makes them, whose requests may be anything. `wild`: some of their fields are wrong. `aimed`: so they are, and
 * some buffers lie on the rings, tables and headers themselves. `noise`: random bytes.
 */
export type Mode = 'honest' | 'wild' | 'aimed' | 'noise'

/** A ring that is filled several times while it runs. */
export interface RingPlan {
  readonly index: number
  readonly size: number
  /** For SET_VRING_BASE, when it is started. */
  readonly base: number
  /** Where the next chain goes: the available index, or a packed ring's position. */
  position: number
  /** The same of the lap before: where the device begins. */
  from: number
  /** Descriptors of each buffer id of a packed ring. */
  readonly counts: Uint16Array
}

/** Rings of the same kind of content. */
export interface Batch {
  readonly mode: Mode
  /** How often they are filled. */
  readonly laps: number
  readonly rings: readonly RingPlan[]
}

const MAX_LAPS = 12

/** Words of 32 bits that addresses are made of. */
const HALVES = [0, 1, 0xfff, 0x1000, 0x10000, 0x7fffffff, 0x80000000, 0xfffff, 0x100000, 0xffffffff]

/** Addresses at which something begins or ends. */
const EDGES = [
  0,
  PLACE.RINGS,
  PLACE.LONG_TABLE_END,
  PLACE.DATA,
  PLACE.MORE_DATA,
  PLACE.DATA + DATA_BYTES,
  PLACE.FAR,
  PLACE.FAR + 2 ** 29,
  PLACE.FAR + 2 ** 30,
  PLACE.FAR + 2 ** 30 + 2 ** 28,
  2 ** 32,
  2 ** 52,
]

/** Fills the rings of a guest, none of which is running. */
export class BatchWriter {
  readonly #packed: boolean
  readonly #view: DataView
  readonly #data: Uint8Array
  readonly #words: Uint16Array
  readonly #requests: RequestFuzz
  readonly #writable: number[] = []
  readonly #events: number[] = []
  #indirect = true

  /** @param far see RequestFuzz */
  constructor(memory: FuzzMemory, packed: boolean, far: boolean) {
    this.#packed = packed
    this.#view = memory.ringsView
    this.#data = memory.data
    this.#words = new Uint16Array(memory.rings.buffer, memory.rings.byteOffset, memory.rings.length >> 1)
    this.#requests = new RequestFuzz(memory.rings, far)
  }

  /** @param indirect whether the feature was negotiated @param maxSize of a ring, a power of two */
  begin(random: Random, indirect: boolean, maxSize: number = MAX_RING_SIZE): Batch {
    const mode = pickMode(random)
    this.#indirect = indirect
    this.#events.length = 0
    const rings: RingPlan[] = []
    for (let index = 0; index < MAX_RINGS; index++) {
      if (!random.once(index < VQ.REQUEST ? 2 : 6)) rings.push(this.#plan(random, index, maxSize))
    }
    return { mode, laps: 1 + random.below(MAX_LAPS), rings }
  }

  #plan(random: Random, index: number, maxSize: number): RingPlan {
    const usual = random.once(8) ? Math.min(maxSize, 2 ** random.below(9)) : maxSize
    const size = this.#packed && random.once(6) ? 1 + random.below(maxSize) : usual
    const counts = new Uint16Array(size)
    const { used } = offsets(index)
    if (this.#packed) {
      const position = packedPosition(random.below(size), random.below(2))
      this.#view.setUint32(used, 0, true)
      return { index, size, base: settledPackedBase(position), position, from: position, counts }
    }
    const position = random.pick([0, random.below(65536), 65530])
    this.#view.setUint16(used, 0, true)
    this.#view.setUint16(used + 2, position, true)
    return { index, size, base: position, position, from: position, counts }
  }

  /**
   * Fills rings in which nothing is in flight. What the device may write then, in honest mode: guest addresses and lengths, one
   * after the other.
   */
  fill(random: Random, mode: Mode, rings: readonly RingPlan[]): readonly number[] {
    this.#writable.length = 0
    this.#writable.push(...this.#events)
    this.#scatter(random)
    for (const ring of rings) {
      const { index, size } = ring
      ring.from = ring.position
      const { desc } = offsets(index)
      if (mode === 'noise') {
        this.#noise(random, desc, DESC.SIZE * size)
        this.#noise(random, PLACE.TABLES - PLACE.RINGS + TABLE_BYTES * TABLES_PER_RING * index, 8 * TABLE_BYTES)
      }
      if (this.#packed) this.#packedRing(random, ring, mode)
      else this.#splitRing(random, ring, mode)
    }
    return this.#writable
  }

  /** Whether the device has given back all that the last lap put into a ring, as far as the ring itself tells. */
  drained(ring: RingPlan): boolean {
    const { desc, used } = offsets(ring.index)
    if (!this.#packed) return Atomics.load(this.#words, (used + 2) >> 1) === ring.position
    const { size, counts } = ring
    let at = ring.from & 0x7fff
    let wrap = ring.from >>> 15
    const end = ring.position
    while (packedPosition(at, wrap) !== end) {
      const flags = Atomics.load(this.#words, (desc + DESC.SIZE * at + 14) >> 1)
      if ((flags & MARK) !== (wrap === 1 ? MARK : 0)) return false
      const count = counts[this.#view.getUint16(desc + DESC.SIZE * at + 12, true)] ?? 0
      if (count === 0) return false
      at += count
      if (at < size) continue
      at -= size
      wrap ^= 1
    }
    return true
  }

  #noise(random: Random, at: number, length: number): void {
    for (let i = 0; i < length; i += 4) this.#view.setUint32(at + i, random.next(), true)
  }

  #splitRing(random: Random, ring: RingPlan, mode: Mode): void {
    const view = this.#view
    const { index, size, from } = ring
    const { avail } = offsets(index)
    let chains = 0
    if (mode === 'noise') {
      chains = random.below(size + 1)
      for (let i = 0; i < size; i++) view.setUint16(avail + 4 + 2 * i, random.next(), true)
    } else {
      const wanted = random.once(8) ? random.below(8) : size
      for (let slot = 0; slot < size && chains < wanted; chains++) {
        const pieces = this.#make(random, index, chains, mode)
        const style = this.#indirect ? random.below(6) : 0
        // Direct; in a table; some of both.
        const direct = style < 1 ? pieces.count : style < 5 ? 0 : random.below(pieces.count)
        const count = direct + (direct < pieces.count ? 1 : 0)
        if (slot + count > size) break
        this.#splitChain(random, index, slot, chains, pieces, direct, mode)
        const wrong = mode !== 'honest' && random.once(1000)
        const head = wrong ? (random.once(2) ? random.next() : random.below(size)) : slot
        view.setUint16(avail + 4 + 2 * ((from + chains) % size), head, true)
        slot += count
      }
    }
    ring.position = (from + chains) & 0xffff
    const shown = mode !== 'honest' && random.once(40) ? random.next() & 0xffff : ring.position
    view.setUint16(avail, random.below(3), true)
    view.setUint16(avail + usedEventOffset(size), random.once(2) ? from : random.next(), true)
    // Last: the ring may be running.
    Atomics.store(this.#words, (avail + 2) >> 1, shown)
  }

  #packedRing(random: Random, ring: RingPlan, mode: Mode): void {
    const view = this.#view
    const { index, size, from, counts } = ring
    const { desc, avail } = offsets(index)
    const start = from & 0x7fff
    const wrap = from >>> 15
    view.setUint16(avail, random.once(2) ? from : random.next(), true)
    view.setUint16(avail + PACKED_EVENT.FLAGS, random.below(4), true)
    counts.fill(0)
    if (mode === 'noise') return
    // As if they had been used in the lap before; the first one is made available last, as the ring may be running.
    for (let i = 0; i < size; i++) {
      const lap = start + i < size ? wrap : wrap ^ 1
      view.setUint16(desc + DESC.SIZE * ((start + i) % size) + 14, lap === 1 ? 0 : MARK, true)
    }
    const first = (desc + DESC.SIZE * start + 14) >> 1
    let shown = Atomics.load(this.#words, first)
    let slot = 0
    const wanted = random.once(8) ? random.below(8) : size
    for (let chains = 0; slot < size && chains < wanted; chains++) {
      const pieces = this.#make(random, index, chains, mode)
      const table = this.#indirect && !random.once(6)
      const count = table ? 1 : pieces.count
      if (slot + count > size) break
      const flags = this.#packedChain(random, ring, slot, chains, pieces, table, mode)
      if (slot === 0) shown = flags
      counts[chains] = count
      slot += count
    }
    const stop = start + slot
    ring.position = packedPosition(stop % size, stop < size ? wrap : wrap ^ 1)
    Atomics.store(this.#words, first, shown)
  }

  /** A request; in honest mode what it may write is noted. */
  #make(random: Random, ring: number, slot: number, mode: Mode): Pieces {
    const pieces = this.#requests.make(random, ring, slot)
    if (mode === 'honest') {
      for (let i = 0; i < pieces.count; i++) {
        if (pieces.writable[i] === 0) continue
        this.#writable.push(pieces.address(i), pieces.length[i]!)
        // Event buffers stay until there is something to tell.
        if (ring === VQ.EVENT) this.#events.push(pieces.address(i), pieces.length[i]!)
      }
    } else if (random.once(80)) {
      this.#spoil(random, pieces, mode)
    }
    return pieces
  }

  /** Makes one buffer wrong, or several. */
  #spoil(random: Random, pieces: Pieces, mode: Mode): void {
    const count = random.once(4) ? 1 + random.below(3) : 1
    for (let n = 0; n < count; n++) {
      const i = random.below(pieces.count)
      const kind = random.below(mode === 'aimed' ? 12 : 7)
      if (kind === 0) {
        pieces.length[i] = random.once(2) ? random.next() : random.pick(LENGTHS)
      } else if (kind === 1) {
        pieces.writable[i] = random.below(2)
      } else if (kind === 2) {
        pieces.high[i] = random.once(2) ? random.next() : random.pick(HALVES)
        pieces.low[i] = random.once(2) ? random.next() : random.pick(HALVES)
      } else if (kind === 3) {
        setAddress(pieces, i, Math.max(0, random.pick(EDGES) + random.below(64) - 32))
      } else if (kind === 4) {
        // Up to an edge, and one byte more or less.
        setAddress(pieces, i, Math.max(0, random.pick(EDGES) - pieces.length[i]! + random.below(3) - 1))
      } else if (kind === 5) {
        setAddress(pieces, i, PLACE.DATA + random.below(DATA_BYTES))
        pieces.length[i] = random.below(2 ** 20)
      } else if (kind === 6) {
        if (pieces.count < 40) pieces.add(PLACE.DATA + random.below(DATA_BYTES), random.pick(LENGTHS), random.once(2))
      } else {
        // On what it is made of.
        const place = random.pick([PLACE.RINGS, PLACE.DESCRIPTORS, PLACE.TABLES, PLACE.HEADERS])
        setAddress(pieces, i, place + random.below(24 * KIB))
        if (random.once(2)) pieces.writable[i] = 1
        if (random.once(4)) pieces.length[i] = random.below(8 * KIB)
      }
    }
  }

  #describe(at: number, pieces: Pieces, i: number, third: number, fourth: number): void {
    const view = this.#view
    view.setUint32(at, pieces.low[i]!, true)
    view.setUint32(at + 4, pieces.high[i]!, true)
    view.setUint32(at + DESC.LENGTH, pieces.length[i]!, true)
    view.setUint16(at + 12, third, true)
    view.setUint16(at + 14, fourth, true)
  }

  #splitChain(
    random: Random,
    ring: number,
    slot: number,
    chain: number,
    pieces: Pieces,
    direct: number,
    mode: Mode,
  ): void {
    const { count } = pieces
    const { desc } = offsets(ring)
    for (let i = 0; i < direct; i++) {
      let flags = (i < count - 1 ? NEXT : 0) | (pieces.writable[i] === 1 ? WRITE : 0)
      let next = slot + i + 1
      if (mode !== 'honest' && random.once(2000)) flags ^= 1 << random.below(random.once(2) ? 3 : 16)
      if (mode !== 'honest' && random.once(2000)) next = random.once(2) ? random.next() : slot
      this.#describe(desc + DESC.SIZE * (slot + i), pieces, i, flags, next)
    }
    if (direct === count) return
    const { address, length, flags } = this.#table(random, ring, chain, pieces, direct, mode, false)
    const at = desc + DESC.SIZE * (slot + direct)
    this.#place(at, address, length)
    this.#view.setUint16(at + DESC.FLAGS, flags, true)
    this.#view.setUint16(at + DESC.NEXT, mode === 'honest' ? 0 : random.below(MAX_RING_SIZE), true)
  }

  /** Answers the flags of the first descriptor, which are not written where that is the first one of a lap. */
  #packedChain(
    random: Random,
    ring: RingPlan,
    slot: number,
    id: number,
    pieces: Pieces,
    table: boolean,
    mode: Mode,
  ): number {
    const { index, size, from } = ring
    const { desc } = offsets(index)
    const count = table ? 1 : pieces.count
    let first = 0
    for (let i = 0; i < count; i++) {
      const place = (from & 0x7fff) + slot + i
      const lap = place < size ? from >>> 15 : (from >>> 15) ^ 1
      const at = desc + DESC.SIZE * (place % size)
      let flags = lap === 1 ? AVAIL : USED
      if (mode !== 'honest' && random.once(2000)) flags ^= random.once(2) ? MARK : 1 << random.below(16)
      const buffer = mode !== 'honest' && random.once(2000) ? random.next() : id
      if (table) {
        const found = this.#table(random, index, id, pieces, 0, mode, true)
        this.#place(at, found.address, found.length)
        flags ^= found.flags
      } else {
        this.#place(at, pieces.address(i), pieces.length[i]!)
        flags ^= (i < count - 1 ? NEXT : 0) | (pieces.writable[i] === 1 ? WRITE : 0)
      }
      this.#view.setUint16(at + 12, buffer, true)
      if (i === 0) first = flags & 0xffff
      if (slot + i > 0) this.#view.setUint16(at + 14, flags, true)
    }
    return first
  }

  #place(at: number, address: number, length: number): void {
    this.#view.setUint32(at, address >>> 0, true)
    this.#view.setUint32(at + 4, Math.floor(address / 2 ** 32), true)
    this.#view.setUint32(at + DESC.LENGTH, length, true)
  }

  /** Writes an indirect table of the pieces from `from` on; the descriptor that leads to it. */
  #table(
    random: Random,
    ring: number,
    chain: number,
    pieces: Pieces,
    from: number,
    mode: Mode,
    packed: boolean,
  ): { address: number; length: number; flags: number } {
    const count = Math.min(pieces.count - from, TABLE_BYTES / DESC.SIZE)
    const address = PLACE.TABLES + TABLE_BYTES * (TABLES_PER_RING * ring + (chain % TABLES_PER_RING))
    const at = address - PLACE.RINGS
    for (let i = 0; i < count; i++) {
      const last = i === count - 1
      let flags = pieces.writable[from + i] === 1 ? WRITE : 0
      if (!(packed || last)) flags |= NEXT
      let next = i + 1
      if (mode !== 'honest' && random.once(2000)) flags ^= 1 << random.below(random.once(2) ? 3 : 16)
      if (mode !== 'honest' && random.once(2000)) next = random.once(2) ? random.next() : random.below(count)
      this.#describe(at + DESC.SIZE * i, pieces, from + i, packed ? next : flags, packed ? flags : next)
    }
    const found = { address, length: DESC.SIZE * count, flags: INDIRECT as number }
    if (mode !== 'honest' && random.once(300)) this.#spoilTable(random, found)
    return found
  }

  #spoilTable(random: Random, table: { address: number; length: number; flags: number }): void {
    switch (random.below(7)) {
      case 0:
        table.length = random.pick(LENGTHS)
        break
      case 1:
        table.length = random.once(2) ? random.next() : DESC.SIZE * random.below(70000)
        break
      case 2:
        table.address = random.pick(EDGES) - random.below(3) * DESC.SIZE
        break
      case 3:
        table.flags |= 1 << random.below(random.once(2) ? 3 : 16)
        break
      case 4:
        table.address += random.below(TABLE_BYTES)
        break
      case 5:
        // Its own descriptor's table.
        table.address = PLACE.DESCRIPTORS + DESC.SIZE * random.below(MAX_RINGS * MAX_RING_SIZE)
        break
      default:
        table.address = PLACE.LONG_TABLE
        table.length = PLACE.LONG_TABLE_END - PLACE.LONG_TABLE
        this.#longTable(random)
    }
  }

  /** A table of ten thousand entries, each of which leads to some other. */
  #longTable(random: Random): void {
    const at = PLACE.LONG_TABLE - PLACE.RINGS
    const entries = (PLACE.LONG_TABLE_END - PLACE.LONG_TABLE) / DESC.SIZE
    const step = random.once(2) ? 1 : 7919
    const from = random.below(entries)
    // Not all of them: that would take longer than to serve them.
    for (let i = 0; i < 300; i++) {
      const entry = i < 150 ? i : (from + i) % entries
      this.#place(at + DESC.SIZE * entry, PLACE.HEADERS, random.below(2))
      const flags = random.once(500) ? 0 : NEXT
      const next = (entry + step) % entries
      this.#view.setUint16(at + DESC.SIZE * entry + 12, this.#packed ? next : flags, true)
      this.#view.setUint16(at + DESC.SIZE * entry + 14, this.#packed ? flags : next, true)
    }
  }

  /** Some new content for parameter lists: small numbers, as they have them, and zeros. */
  #scatter(random: Random): void {
    const at = random.below(this.#data.length - 1024)
    for (let i = 0; i < 1024; i++) this.#data[at + i] = random.once(3) ? random.below(random.once(4) ? 256 : 40) : 0
  }
}

/** From PLACE.RINGS on. */
function offsets(index: number): { desc: number; avail: number; used: number } {
  const avail = 4 * KIB * index
  return { desc: PLACE.DESCRIPTORS - PLACE.RINGS + 4 * KIB * index, avail, used: avail + PLACE.USED }
}

function pickMode(random: Random): Mode {
  const kind = random.below(20)
  if (kind < 8) return 'honest'
  if (kind < 15) return 'wild'
  return kind < 19 ? 'aimed' : 'noise'
}

function setAddress(pieces: Pieces, i: number, address: number): void {
  pieces.low[i] = address >>> 0
  pieces.high[i] = Math.floor(address / 2 ** 32)
}
