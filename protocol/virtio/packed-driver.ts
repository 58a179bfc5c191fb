import {
  PACKED_ALIGNMENT,
  PACKED_DESC,
  PACKED_DESC_F,
  PACKED_EVENT,
  PACKED_EVENT_F,
  PACKED_SIZE_MAX,
  packedNeedsEvent,
  packedPosition,
  packedRingBytes,
} from './packed-ring-layout.js'
import { type ChainSegment, UsedRingError } from './split-driver.js'

/** Where the parts of a packed ring lie, in bytes from the start of its area (virtio 1.3 2.8.10.1). */
export interface PackedRingLayout {
  readonly desc: number
  /** The driver's and the device's event suppression structures. */
  readonly driverEvent: number
  readonly deviceEvent: number
  /** `size` tables of `indirectEntries` descriptors each; table n belongs to the chain whose id is n. */
  readonly indirect: number
  /** Bytes of the whole area. */
  readonly bytes: number
}

/** Lays out a packed ring of `size` descriptors, its parts on cache lines of their own. */
export function packedRingLayout(size: number, indirectEntries = 0): PackedRingLayout {
  const driverEvent = Math.ceil(packedRingBytes(size) / 64) * 64
  const deviceEvent = driverEvent + 64
  const indirect = deviceEvent + 64
  return { desc: 0, driverEvent, deviceEvent, indirect, bytes: indirect + size * indirectEntries * PACKED_DESC.SIZE }
}

/** How a chain is described: descriptors in the ring itself, or one that refers to an indirect table (virtio 1.3 2.8.5). */
export type PackedChainStyle = 'direct' | 'indirect'

export interface PackedDriverOptions {
  /** Descriptors in the ring: 1 to 32768. */
  readonly size: number
  /** Memory that the device shares, and where in it the area of `packedRingLayout(...).bytes` starts (16-aligned). */
  readonly buffer: ArrayBufferLike
  readonly byteOffset: number
  /** Guest-physical address of the area's first byte. */
  readonly guestAddress: number
  /** VIRTIO_F_EVENT_IDX was negotiated. */
  readonly eventIdx?: boolean
  /** Descriptors in each indirect table; 0, the default, means that only direct chains can be made. */
  readonly indirectEntries?: number
}

// A descriptor is four 32-bit words: address (two), length, and the id with the flags above it.
const WORDS = PACKED_DESC.SIZE / 4
const LENGTH = 2
const ID_FLAGS = 3
const AVAIL = PACKED_DESC_F.AVAIL << 16
const USED = PACKED_DESC_F.USED << 16
const MARK = AVAIL | USED
const NEXT = PACKED_DESC_F.NEXT << 16
const WRITE = PACKED_DESC_F.WRITE << 16
const INDIRECT = PACKED_DESC_F.INDIRECT << 16
const { ENABLE, DISABLE, DESC } = PACKED_EVENT_F

/**
 * The driver's side of a packed virtqueue (virtio 1.3 2.8), with the methods of SplitDriver.
 *
 * A chain is described once with `prepare`, in private memory, and may then be submitted as often as wanted: `submit`
 * copies its descriptors to the ring's next places, `publish` makes all of them visible with one store, and `reap`
 * collects the ids of completed chains. None of the three allocates. There is always room in the ring for what is
 * prepared. A device that completes what was not submitted is reported as a `UsedRingError`.
 */
export class PackedDriver {
  readonly packed = true
  readonly size: number
  readonly eventIdx: boolean
  readonly layout: PackedRingLayout
  /** The three addresses of SET_VRING_ADDR: descriptor ring, driver's and device's event suppression structure. */
  readonly descAddress: number
  readonly availAddress: number
  readonly usedAddress: number
  /** Bytes that the device wrote at the last completion of each chain; 0 where the used descriptor lacks WRITE. */
  readonly usedLength: Uint32Array
  readonly #indirectAddress: number
  readonly #indirectEntries: number
  readonly #ring: Int32Array
  readonly #driverEvent: Int32Array
  readonly #deviceEvent: Int32Array
  readonly #table: Int32Array
  /** Prepared descriptors; their links in a chain or in the free list; descriptors by chain; what is in flight. */
  readonly #prepared: Int32Array
  readonly #link: Uint16Array
  readonly #count: Uint16Array
  readonly #submitted: Uint8Array
  #firstFree = 0
  #freeCount: number
  /** Next descriptor to make available, and the mark that does. */
  #next = 0
  #availableMark = AVAIL
  /** Descriptors submitted and not published; where the first one of them has its flags, and what is to be written there. */
  #unpublished = 0
  #firstAt = 0
  #firstWord = 0
  /** Next descriptor to be used by the device, and the mark that tells. */
  #used = 0
  #usedMark = MARK
  #outstanding = 0
  /** Chains reaped, 16 bits. */
  #reaped = 0

  constructor(o: PackedDriverOptions) {
    const size = o.size
    if (!Number.isInteger(size) || size < 1 || size > PACKED_SIZE_MAX) {
      throw new RangeError(`ring size ${size} is not in 1 to ${PACKED_SIZE_MAX}`)
    }
    if (o.byteOffset % PACKED_ALIGNMENT.RING !== 0 || o.guestAddress % PACKED_ALIGNMENT.RING !== 0) {
      throw new RangeError('ring area is not 16-byte aligned')
    }
    const entries = o.indirectEntries ?? 0
    const layout = packedRingLayout(size, entries)
    const at = o.byteOffset
    this.size = size
    this.eventIdx = o.eventIdx ?? false
    this.layout = layout
    this.descAddress = o.guestAddress + layout.desc
    this.availAddress = o.guestAddress + layout.driverEvent
    this.usedAddress = o.guestAddress + layout.deviceEvent
    this.#indirectAddress = o.guestAddress + layout.indirect
    this.#indirectEntries = entries
    this.#ring = new Int32Array(o.buffer, at + layout.desc, size * WORDS)
    this.#driverEvent = new Int32Array(o.buffer, at + layout.driverEvent, PACKED_EVENT.SIZE / 4)
    this.#deviceEvent = new Int32Array(o.buffer, at + layout.deviceEvent, PACKED_EVENT.SIZE / 4)
    this.#table = new Int32Array(o.buffer, at + layout.indirect, size * entries * WORDS)
    this.#prepared = new Int32Array(size * WORDS)
    this.#link = new Uint16Array(size)
    this.#count = new Uint16Array(size)
    this.#submitted = new Uint8Array(size)
    this.usedLength = new Uint32Array(size)
    this.#freeCount = size
    this.reset()
  }

  /** Zeroes the ring and forgets every chain, as a driver does after a device reset. The device must not be running. */
  reset(): void {
    this.#ring.fill(0)
    this.#driverEvent.fill(0)
    this.#deviceEvent.fill(0)
    this.#submitted.fill(0)
    this.#count.fill(0)
    for (let i = 0; i < this.size; i++) this.#link[i] = i + 1
    this.#firstFree = 0
    this.#freeCount = this.size
    this.#next = this.#used = this.#unpublished = this.#outstanding = this.#reaped = 0
    this.#availableMark = AVAIL
    this.#usedMark = MARK
  }

  /** Descriptors that no chain holds. */
  get freeDescriptors(): number {
    return this.#freeCount
  }

  /** Chains submitted and not yet reaped. */
  get outstanding(): number {
    return this.#outstanding
  }

  /** The next descriptor to make available: its index, and in bit 15 the wrap counter. */
  get availIndex(): number {
    return packedPosition(this.#next, this.#availableMark === AVAIL ? 1 : 0)
  }

  /** The descriptor up to which completions were reaped, in the same form. */
  get usedIndex(): number {
    return packedPosition(this.#used, this.#usedMark !== 0 ? 1 : 0)
  }

  /**
   * Describes a chain and returns its id, which stays the chain's name until `release`.
   * Readable segments come first (virtio 1.3 2.8.17). RangeError when it does not fit.
   */
  prepare(segments: readonly ChainSegment[], style: PackedChainStyle = 'direct'): number {
    const total = segments.length
    if (total === 0) throw new RangeError('a chain needs at least one segment')
    for (let i = 1; i < total; i++) {
      if (segments[i - 1]!.writable && !segments[i]!.writable)
        throw new RangeError('readable segment after a writable one')
    }
    const needed = style === 'direct' ? total : 1
    if (style === 'indirect' && total > this.#indirectEntries)
      throw new RangeError(`${total} descriptors in tables of ${this.#indirectEntries}`)
    if (needed > this.#freeCount) throw new RangeError(`${needed} descriptors wanted, ${this.#freeCount} free`)

    const id = this.#firstFree
    let last = id
    if (style === 'indirect') {
      segments.forEach(({ address, length, writable }, i) => {
        this.writeIndirectDescriptor(id, i, address, length, writable ? PACKED_DESC_F.WRITE : 0)
      })
      const bytes = total * PACKED_DESC.SIZE
      write(this.#prepared, id, this.indirectTableAddress(id), bytes, INDIRECT | id)
    } else {
      segments.forEach(({ address, length, writable }, i) => {
        if (i > 0) last = this.#link[last]!
        write(this.#prepared, last, address, length, (i + 1 < total ? NEXT : 0) | (writable ? WRITE : 0) | id)
      })
    }
    this.#firstFree = this.#link[last]!
    this.#freeCount -= needed
    this.#count[id] = needed
    return id
  }

  /** Gives a chain's descriptors back. It must not be in flight. */
  release(id: number): void {
    const count = this.#count[id] ?? 0
    if (count === 0) throw new RangeError(`${id} is no chain`)
    if (this.#submitted[id] !== 0) throw new RangeError(`chain ${id} is in flight`)
    let last = id
    for (let i = 1; i < count; i++) last = this.#link[last]!
    this.#link[last] = this.#firstFree
    this.#firstFree = id
    this.#freeCount += count
    this.#count[id] = 0
  }

  /** Puts a prepared chain into the ring. The device sees it after `publish`. */
  submit(id: number): void {
    const ring = this.#ring
    const prepared = this.#prepared
    const count = this.#count[id]!
    let next = this.#next
    let mark = this.#availableMark
    let from = id
    for (let i = 0; i < count; i++) {
      const at = next * WORDS
      const source = from * WORDS
      ring[at] = prepared[source]!
      ring[at + 1] = prepared[source + 1]!
      ring[at + LENGTH] = prepared[source + LENGTH]!
      const word = prepared[source + ID_FLAGS]! | mark
      // Only the first of all that is unpublished keeps its flags back: the device looks at no later one before.
      if (this.#unpublished === 0) {
        this.#firstAt = at + ID_FLAGS
        this.#firstWord = word
      } else {
        ring[at + ID_FLAGS] = word
      }
      this.#unpublished++
      from = this.#link[from]!
      if (++next === this.size) {
        next = 0
        mark ^= MARK
      }
    }
    this.#next = next
    this.#availableMark = mark
    this.#submitted[id] = 1
    this.#outstanding++
  }

  /** `prepare` and `submit` in one. */
  add(segments: readonly ChainSegment[], style: PackedChainStyle = 'direct'): number {
    const id = this.prepare(segments, style)
    this.submit(id)
    return id
  }

  /**
   * Shows the device everything submitted since the last call. True when it has to be notified: the caller writes to
   * the kick eventfd (virtio 1.3 2.8.21.2, 2.8.10).
   */
  publish(): boolean {
    const count = this.#unpublished
    if (count === 0) return false
    this.#unpublished = 0
    // Sequentially consistent on both sides: the flags are visible before the device's wish is read, else both may
    // sleep.
    Atomics.store(this.#ring, this.#firstAt, this.#firstWord)
    const event = Atomics.load(this.#deviceEvent, 0)
    const flags = (event >>> 16) & 3
    if (flags !== DESC) return flags !== DISABLE
    if (!this.eventIdx) return true
    const before = packedPosition((this.#firstAt / WORDS) | 0, (this.#firstWord & AVAIL) !== 0 ? 1 : 0)
    return packedNeedsEvent(event & 0xffff, before, count, this.size)
  }

  /** Completions waiting in the ring. UsedRingError when one is of a chain that is not in flight. */
  get pending(): number {
    let used = this.#used
    let mark = this.#usedMark
    let count = 0
    for (;;) {
      const word = Atomics.load(this.#ring, used * WORDS + ID_FLAGS)
      if ((word & MARK) !== mark) return count
      if (count === this.#outstanding) throw new UsedRingError(`more than the ${count} chains in flight are used`)
      used += this.#descriptors(word & 0xffff, used)
      if (used >= this.size) {
        used -= this.size
        mark ^= MARK
      }
      count++
    }
  }

  /**
   * Collects completed chains: their ids go into `ids` (as many as fit), in the order of completion, and the bytes
   * written into `usedLength`. Returns how many. A chain stays prepared; `submit` it again or `release` it.
   * UsedRingError when the device completes what was not in flight.
   */
  reap(ids: Int32Array): number {
    const ring = this.#ring
    const submitted = this.#submitted
    let done = 0
    while (done < ids.length) {
      const at = this.#used * WORDS
      const word = Atomics.load(ring, at + ID_FLAGS)
      if ((word & MARK) !== this.#usedMark) break
      const id = word & 0xffff
      const count = this.#descriptors(id, this.#used)
      submitted[id] = 0
      this.#outstanding--
      this.usedLength[id] = (word & WRITE) !== 0 ? ring[at + LENGTH]! : 0
      ids[done++] = id
      this.#used += count
      if (this.#used >= this.size) {
        this.#used -= this.size
        this.#usedMark ^= MARK
      }
    }
    this.#reaped = (this.#reaped + done) & 0xffff
    return done
  }

  /** How many chains the device has completed, 16 bits: what used.idx tells in a split ring. UsedRingError as `pending`. */
  get deviceUsedIndex(): number {
    return (this.#reaped + this.pending) & 0xffff
  }

  /** Asks for no interrupts while the caller polls. A hint: some may still come (virtio 1.3 2.8.10). */
  disableInterrupts(): void {
    this.writeDriverEvent(0, DISABLE)
  }

  /**
   * Asks for an interrupt at the next completion. True when completions are already waiting, for which none may come:
   * reap again before sleeping (virtio 1.3 2.8.22).
   */
  enableInterrupts(): boolean {
    if (this.eventIdx) this.writeDriverEvent(this.usedIndex, DESC)
    else this.writeDriverEvent(0, ENABLE)
    return (Atomics.load(this.#ring, this.#used * WORDS + ID_FLAGS) & MARK) === this.#usedMark
  }

  /** Descriptors of the chain that the used descriptor at `index` names. */
  #descriptors(id: number, index: number): number {
    // An id beyond the ring reads undefined here, which is not 1 either.
    if (this.#submitted[id] !== 1)
      throw new UsedRingError(`descriptor ${index} names chain ${id}, which is not in flight`)
    return this.#count[id]!
  }

  // ---- raw access, for tests that misbehave

  /** Writes any descriptor into the ring, flags with their AVAIL and USED bits. */
  writeDescriptor(index: number, address: number, length: number, flags: number, id: number): void {
    write(this.#ring, index, address, length, (flags << 16) | (id & 0xffff))
  }

  /** Writes any descriptor into the indirect table of a chain. */
  writeIndirectDescriptor(id: number, i: number, address: number, length: number, flags: number, own = 0): void {
    if (i >= this.#indirectEntries) throw new RangeError(`entry ${i} in a table of ${this.#indirectEntries}`)
    write(this.#table, id * this.#indirectEntries + i, address, length, (flags << 16) | (own & 0xffff))
  }

  /** Guest-physical address of the indirect table of a chain. */
  indirectTableAddress(id: number): number {
    return this.#indirectAddress + id * this.#indirectEntries * PACKED_DESC.SIZE
  }

  /** Writes any wish for interrupts. */
  writeDriverEvent(position: number, flags: number): void {
    Atomics.store(this.#driverEvent, 0, (flags << 16) | position)
  }

  /** What the device wishes: a position (its event offset and wrap counter), and flags. */
  get deviceEvent(): { position: number; flags: number } {
    const word = Atomics.load(this.#deviceEvent, 0)
    return { position: word & 0xffff, flags: word >>> 16 }
  }
}

function write(table: Int32Array, index: number, address: number, length: number, word: number): void {
  const at = index * WORDS
  // An Int32Array store is modulo 2^32.
  table[at] = address
  table[at + 1] = address / 2 ** 32
  table[at + LENGTH] = length
  table[at + ID_FLAGS] = word
}
