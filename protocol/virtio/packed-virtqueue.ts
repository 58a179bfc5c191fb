import type { DirtyLog } from './dirty-log.js'
import {
  isPackedBase,
  PACKED_DESC,
  PACKED_DESC_F,
  PACKED_EVENT,
  PACKED_EVENT_F,
  PACKED_SIZE_MAX,
  packedDistance,
  packedNeedsEvent,
  packedPosition,
  packedRingBytes,
} from './packed-ring-layout.js'
import type { Virtqueue } from './virtqueue.js'

export interface PackedVirtqueueOptions {
  /** Descriptors: 1 to 32768, a power of two or not. */
  size: number
  /** The descriptor ring in memory, from its first byte. */
  desc: ArrayBufferLike
  /** The driver's event suppression structure, which the device reads: where a split ring has its available ring. */
  driverEvent: ArrayBufferLike
  /** The device's event suppression structure, which the device writes: where a split ring has its used ring. */
  deviceEvent: ArrayBufferLike
  /**
   * Where the ring stands, 32 bits: next available position in the low half, next used position in the high half (see
   * isPackedBase). A ring that nobody has used yet has PACKED_BASE_NEW.
   */
  base: number
  /** VIRTIO_F_EVENT_IDX was negotiated. */
  eventIdx: boolean
  /** Where a migration logs what is written to the ring; absent or null: nowhere. */
  log?: PackedRingLog | null
}

/** A packed ring in the dirty log: the descriptor ring and the device's event suppression structure. */
export interface PackedRingLog {
  readonly log: DirtyLog
  /** Guest addresses. */
  readonly desc: number
  readonly deviceEvent: number
}

/** The base of a new ring: both at the first descriptor, both wrap counters 1 (virtio 1.3 2.8.1). */
export const PACKED_BASE_NEW = 0x8000_8000

/** What `fetch` answers when there is no chain, against the promise of `available`. */
export const NO_CHAIN = -1

// A descriptor is four 32-bit words: address (two), length, and the id with the flags above it.
const LENGTH = 2
const ID_FLAGS = 3
/** AVAIL and USED in the word of id and flags, as signed 32-bit numbers. */
const AVAIL = PACKED_DESC_F.AVAIL << 16
const USED = PACKED_DESC_F.USED << 16
const MARK = AVAIL | USED
const NEXT = PACKED_DESC_F.NEXT << 16
const WRITE = PACKED_DESC_F.WRITE << 16
const { ENABLE, DISABLE, DESC } = PACKED_EVENT_F

/** What stands for a chain in flight: its id, and how many descriptors of the ring it took (PackedChain: at most MAX_CHAIN). */
export function packedBuffer(id: number, count: number): number {
  return id | (count << 16)
}

/**
 * The device's side of a packed virtqueue (virtio 1.3 2.8), with the methods of SplitVirtqueue. Holds no request state.
 * What differs: a chain's length, and so the place of the next one, is known only after it was walked. `fetch` answers
 * where a chain begins and stays there; `advance` moves on behind a chain that was walked to its end, given the number
 * that stands for it (`packedBuffer`, as PackedChain answers it), which `push` takes too. The ring place of a chain in
 * flight may be in use for another one, and ids are the driver's: neither is looked at or depended on. A driver that
 * uses an id twice is given it back twice.
 *
 * The word that makes a descriptor the driver's or the device's is read and written by Atomics (sequentially
 * consistent, on memory shared with another process); everything between is plain. Of the used descriptors of a batch
 * the first one gets its flags last: the driver looks at no later one before.
 */
export class PackedVirtqueue implements Virtqueue {
  readonly packed = true
  readonly size: number
  readonly desc: DataView
  readonly eventIdx: boolean
  readonly #ring: Int32Array
  readonly #driverEvent: Int32Array
  readonly #deviceEvent: Int32Array
  /** Next descriptor to fetch, and the mark that makes it available. */
  #next: number
  #availableMark: number
  /** Descriptors that the last fetched chain was advanced by; 0 before. */
  #last = 0
  /** Next descriptor to use, and the mark that makes it used. */
  #used: number
  #usedMark: number
  /** Descriptors used and not published; where the first one of them has its flags, and what is to be written there. */
  #unpublished = 0
  #firstAt = 0
  #firstWord = 0
  /** Descriptors that are the device's: fetched, and not published as used. */
  #held: number
  #suppressed = false
  readonly #log: PackedRingLog | null

  /** @throws RangeError for a size or a base that no packed ring has */
  constructor(options: PackedVirtqueueOptions) {
    const { size, base } = options
    if (!Number.isInteger(size) || size < 1 || size > PACKED_SIZE_MAX) throw new RangeError(`ring size ${size}`)
    if (!isPackedBase(base, size)) throw new RangeError(`base 0x${base.toString(16)} in a ring of ${size}`)
    this.size = size
    this.desc = new DataView(options.desc, 0, packedRingBytes(size))
    this.#ring = new Int32Array(options.desc, 0, packedRingBytes(size) / 4)
    this.#driverEvent = new Int32Array(options.driverEvent, 0, PACKED_EVENT.SIZE / 4)
    this.#deviceEvent = new Int32Array(options.deviceEvent, 0, PACKED_EVENT.SIZE / 4)
    this.eventIdx = options.eventIdx
    this.#log = options.log ?? null
    const available = base & 0xffff
    const used = base >>> 16
    this.#next = available & 0x7fff
    this.#availableMark = available >>> 15 !== 0 ? AVAIL : USED
    this.#used = used & 0x7fff
    this.#usedMark = used >>> 15 !== 0 ? MARK : 0
    this.#held = packedDistance(used, available, size)
  }

  /** The next position to fetch: its index, and in bit 15 the wrap counter. */
  get nextAvailable(): number {
    return packedPosition(this.#next, this.#availableMark === AVAIL ? 1 : 0)
  }

  /** The next position to use, in the same form: where the next `push` writes. */
  get nextUsed(): number {
    return packedPosition(this.#used, this.#usedMark !== 0 ? 1 : 0)
  }

  /** Where the ring stands, as GET_VRING_BASE answers it, and the constructor takes it. Nothing is unpublished. */
  get base(): number {
    return this.nextAvailable + this.nextUsed * 2 ** 16
  }

  /**
   * Looks through the ring: how many chains may be fetched now. More than the ring holds is a broken ring: -1.
   *
   * @param most so many are enough: what is behind them is not looked at
   */
  available(most: number = this.size): number {
    const ring = this.#ring
    const size = this.size
    let room = size - this.#held
    if (room < 0) return -1
    let next = this.#next
    let mark = this.#availableMark
    for (let chains = 0; chains < most; chains++) {
      // Atomic: what belongs to a chain is read after this.
      let word = Atomics.load(ring, 4 * next + ID_FLAGS)
      if ((word & MARK) !== mark) return chains
      if (room === 0) return -1
      for (;;) {
        room--
        if (++next === size) {
          next = 0
          mark ^= MARK
        }
        // A chain without end is for the walk to find.
        if ((word & NEXT) === 0 || room === 0) break
        word = ring[4 * next + ID_FLAGS]!
      }
    }
    return most
  }

  /** Whether the driver has made anything available since the last fetch; for polling. A broken ring may count as yes. */
  hasAvailable(): boolean {
    return (Atomics.load(this.#ring, 4 * this.#next + ID_FLAGS) & MARK) === this.#availableMark
  }

  /**
   * The index of the next chain's first descriptor: the same one until `advance`. Only after `available` promised one; if
   * the driver has taken that back, or has changed the chains before it, NO_CHAIN, which no walk accepts.
   */
  fetch(): number {
    const next = this.#next
    this.#last = 0
    if ((this.#ring[4 * next + ID_FLAGS]! & MARK) !== this.#availableMark || this.#held >= this.size) return NO_CHAIN
    return next
  }

  /** Goes on behind the chain that was fetched last and walked to its end. @param buffer what stands for it */
  advance(buffer: number): void {
    const count = buffer >>> 16
    this.#last = count
    this.#held += count
    let next = this.#next + count
    if (next >= this.size) {
      next -= this.size
      this.#availableMark ^= MARK
    }
    this.#next = next
  }

  /** Puts the last fetched chain back; nothing, if there was none. */
  unfetch(): void {
    const count = this.#last
    this.#last = 0
    this.#held -= count
    let next = this.#next - count
    if (next < 0) {
      next += this.size
      this.#availableMark ^= MARK
    }
    this.#next = next
  }

  /**
   * Adds a used descriptor; the driver sees it after `publish`.
   *
   * @param buffer what stands for the chain @param length bytes written to it, counted from its start; 32 bits
   */
  push(buffer: number, length: number): void {
    const ring = this.#ring
    const at = 4 * this.#used
    const count = buffer >>> 16
    const word = (buffer & 0xffff) | this.#usedMark | (length !== 0 ? WRITE : 0)
    ring[at + LENGTH] = length
    if (this.#unpublished === 0) {
      this.#firstAt = at + ID_FLAGS
      this.#firstWord = word
    } else {
      ring[at + ID_FLAGS] = word
    }
    this.#unpublished += count
    let used = this.#used + count
    if (used >= this.size) {
      used -= this.size
      this.#usedMark ^= MARK
    }
    this.#used = used
  }

  /** Whether used descriptors wait to be published. */
  get unpublished(): boolean {
    return this.#unpublished !== 0
  }

  /** Shows all pushed descriptors to the driver. True if it wants to be notified of them (virtio 1.3 2.8.10). */
  publish(): boolean {
    const count = this.#unpublished
    if (count === 0) return false
    this.#unpublished = 0
    this.#held -= count
    Atomics.store(this.#ring, this.#firstAt, this.#firstWord)
    if (this.#log !== null) this.#markUsed(this.#log, count)
    // The store above and the load below must not be swapped, or a notification is lost: both are Atomics.
    const event = Atomics.load(this.#driverEvent, 0)
    const flags = (event >>> 16) & 3
    if (flags !== DESC) return flags !== DISABLE
    if (!this.eventIdx) return true
    const before = packedPosition(this.#firstAt >>> 2, this.#firstWord < 0 ? 1 : 0)
    return packedNeedsEvent(event & 0xffff, before, count, this.size)
  }

  /**
   * Asks the driver to notify of the next chain it adds. True if some came in before the driver could know: then fetch
   * again instead of going to sleep.
   */
  enableNotifications(): boolean {
    // Position and flags in one store: the driver may read them in two steps.
    Atomics.store(this.#deviceEvent, 0, this.eventIdx ? (DESC << 16) | this.nextAvailable : ENABLE)
    this.#suppressed = false
    if (this.#log !== null) this.#markEvent(this.#log)
    return this.hasAvailable()
  }

  /** Tells the driver that it need not notify. */
  disableNotifications(): void {
    if (this.#suppressed) return
    this.#suppressed = true
    this.#deviceEvent[0] = DISABLE << 16
    if (this.#log !== null) this.#markEvent(this.#log)
  }

  /** Reports the descriptors of a batch of `count`, around the end of the ring. */
  #markUsed({ log, desc }: PackedRingLog, count: number): void {
    const first = this.#firstAt >>> 2
    const before = Math.min(count, this.size - first)
    log.mark(desc + PACKED_DESC.SIZE * first, PACKED_DESC.SIZE * before)
    log.mark(desc, PACKED_DESC.SIZE * (count - before))
  }

  #markEvent({ log, deviceEvent }: PackedRingLog): void {
    log.mark(deviceEvent, PACKED_EVENT.SIZE)
  }
}
