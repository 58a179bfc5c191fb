import {
  AVAIL_F_NO_INTERRUPT,
  availBytes,
  availEventOffset,
  DESC,
  DESC_F,
  descBytes,
  needsEvent,
  USED_F_NO_NOTIFY,
  usedBytes,
  usedEventOffset,
} from './split-ring-layout.js'

/** While interrupts are off under EVENT_IDX, used_event is kept this far ahead of what has been reaped. */
const OUT_OF_REACH = 0x8000

/** The device put something impossible into the used ring. Tests want to hear of it at once. */
export class UsedRingError extends Error {
  readonly code = 'VUS_USED_RING'
  override readonly name = 'UsedRingError'
}

/** Where the parts of a split ring lie, in bytes from the start of its area (virtio 1.3 2.7: alignment 16, 2, 4). */
export interface SplitRingLayout {
  readonly desc: number
  readonly avail: number
  readonly used: number
  /** `size` tables of `indirectEntries` descriptors each; table n belongs to the chain whose head is n. */
  readonly indirect: number
  /** Bytes of the whole area. */
  readonly bytes: number
}

/** Lays out a split ring of `size` descriptors, its parts on cache lines of their own. */
export function splitRingLayout(size: number, indirectEntries = 0): SplitRingLayout {
  const line = (bytes: number) => Math.ceil(bytes / 64) * 64
  const avail = line(descBytes(size))
  const used = avail + line(availBytes(size))
  const indirect = used + line(usedBytes(size))
  return { desc: 0, avail, used, indirect, bytes: indirect + size * indirectEntries * DESC.SIZE }
}

/** One buffer of a descriptor chain: guest-physical address, length in bytes, and whether the device writes it. */
export interface ChainSegment {
  readonly address: number
  readonly length: number
  readonly writable: boolean
}

/**
 * How a chain is described: descriptors in the table itself, one descriptor that refers to an indirect table, or
 * a first descriptor in the table followed by an indirect one (virtio 1.3 2.7.5.3.2 has devices accept that too).
 */
export type ChainStyle = 'direct' | 'indirect' | 'mixed'

export interface SplitDriverOptions {
  /** Descriptors in the ring: a power of two, 1 to 32768. */
  readonly size: number
  /** Memory that the device shares, and where in it the area of `splitRingLayout(...).bytes` starts (16-aligned). */
  readonly buffer: ArrayBufferLike
  readonly byteOffset: number
  /** Guest-physical address of the area's first byte. */
  readonly guestAddress: number
  /** VIRTIO_F_EVENT_IDX was negotiated. */
  readonly eventIdx?: boolean
  /** Descriptors in each indirect table; 0, the default, means that only direct chains can be made. */
  readonly indirectEntries?: number
}

/**
 * The driver's side of a split virtqueue (virtio 1.3 2.7).
 *
 * A chain is described once with `prepare` and may then be submitted as often as wanted: `submit` writes one
 * available-ring entry, `publish` makes all entries written since visible with one store, and `reap` collects the
 * heads of completed chains. None of the three allocates. Ring memory is only trusted in one direction: a device that
 * completes what was not submitted is reported as a `UsedRingError`.
 */
export class SplitDriver {
  readonly packed = false
  readonly size: number
  readonly eventIdx: boolean
  readonly layout: SplitRingLayout
  readonly descAddress: number
  readonly availAddress: number
  readonly usedAddress: number
  /** used.len of the last completion of each head. */
  readonly usedLength: Uint32Array
  readonly #indirectAddress: number
  readonly #indirectEntries: number
  readonly #mask: number
  readonly #desc: Uint32Array
  readonly #avail: Uint16Array
  readonly #used16: Uint16Array
  readonly #used32: Uint32Array
  readonly #table: Uint32Array
  /** Index of avail_event in #used16 and of used_event in #avail (virtio 1.3 2.7.10, 2.7.7). */
  readonly #availEvent: number
  readonly #usedEvent: number
  /** Driver-private: link of each descriptor in its chain or in the free list, and descriptors per chain. */
  readonly #link: Uint16Array
  readonly #count: Uint16Array
  readonly #submitted: Uint8Array
  #firstFree = 0
  #freeCount: number
  #next = 0
  #published = 0
  #lastUsed = 0
  #outstanding = 0
  #suppressed = false

  constructor(o: SplitDriverOptions) {
    const size = o.size
    if (!Number.isInteger(size) || size < 1 || size > 32768 || (size & (size - 1)) !== 0) {
      throw new RangeError(`ring size ${size} is not a power of two up to 32768`)
    }
    if (o.byteOffset % 16 !== 0 || o.guestAddress % 16 !== 0) throw new RangeError('ring area is not 16-byte aligned')
    const entries = o.indirectEntries ?? 0
    const layout = splitRingLayout(size, entries)
    const at = o.byteOffset
    this.size = size
    this.eventIdx = o.eventIdx ?? false
    this.layout = layout
    this.descAddress = o.guestAddress + layout.desc
    this.availAddress = o.guestAddress + layout.avail
    this.usedAddress = o.guestAddress + layout.used
    this.#indirectAddress = o.guestAddress + layout.indirect
    this.#indirectEntries = entries
    this.#mask = size - 1
    this.#desc = new Uint32Array(o.buffer, at + layout.desc, size * 4)
    this.#avail = new Uint16Array(o.buffer, at + layout.avail, size + 3)
    this.#used16 = new Uint16Array(o.buffer, at + layout.used, 4 * size + 3)
    this.#used32 = new Uint32Array(o.buffer, at + layout.used, 2 * size + 1)
    this.#table = new Uint32Array(o.buffer, at + layout.indirect, size * entries * 4)
    this.#availEvent = availEventOffset(size) / 2
    this.#usedEvent = usedEventOffset(size) / 2
    this.#link = new Uint16Array(size)
    this.#count = new Uint16Array(size)
    this.#submitted = new Uint8Array(size)
    this.usedLength = new Uint32Array(size)
    this.#freeCount = size
    this.reset()
  }

  /** Zeroes the ring and forgets every chain, as a driver does after a device reset. The device must not be running. */
  reset(): void {
    this.#desc.fill(0)
    this.#avail.fill(0)
    this.#used16.fill(0)
    this.#submitted.fill(0)
    this.#count.fill(0)
    for (let i = 0; i < this.size; i++) this.#link[i] = i + 1
    this.#firstFree = 0
    this.#freeCount = this.size
    this.#next = this.#published = this.#lastUsed = this.#outstanding = 0
    this.#suppressed = false
  }

  /** Descriptors that no chain holds. */
  get freeDescriptors(): number {
    return this.#freeCount
  }

  /** Chains submitted and not yet reaped. */
  get outstanding(): number {
    return this.#outstanding
  }

  /** The free-running 16-bit index of the next available entry, as published: what SET_VRING_BASE calls the base. */
  get availIndex(): number {
    return this.#published
  }

  /** The free-running 16-bit index up to which completions were reaped. */
  get usedIndex(): number {
    return this.#lastUsed
  }

  /**
   * Describes a chain and returns its head, which stays the chain's name until `release`.
   * Readable segments come first (virtio 1.3 2.7.4.2). RangeError when it does not fit.
   */
  prepare(segments: readonly ChainSegment[], style: ChainStyle = 'direct'): number {
    const total = segments.length
    if (total === 0) throw new RangeError('a chain needs at least one segment')
    for (let i = 1; i < total; i++) {
      if (segments[i - 1]!.writable && !segments[i]!.writable)
        throw new RangeError('readable segment after a writable one')
    }
    const direct = style === 'direct' ? total : style === 'mixed' && total > 1 ? 1 : 0
    const inTable = total - direct
    const needed = direct + (inTable > 0 ? 1 : 0)
    if (inTable > this.#indirectEntries)
      throw new RangeError(`${inTable} descriptors in tables of ${this.#indirectEntries}`)
    if (needed > this.#freeCount) throw new RangeError(`${needed} descriptors wanted, ${this.#freeCount} free`)

    const head = this.#firstFree
    let index = head
    let last = head
    for (let i = 0; i < needed; i++) {
      last = index
      const next = this.#link[index]!
      const chained = i + 1 < needed ? DESC_F.NEXT : 0
      if (i < direct) {
        const segment = segments[i]!
        this.writeDescriptor(
          index,
          segment.address,
          segment.length,
          chained | (segment.writable ? DESC_F.WRITE : 0),
          next,
        )
      } else {
        this.writeDescriptor(index, this.indirectTableAddress(head), inTable * DESC.SIZE, DESC_F.INDIRECT, 0)
      }
      index = next
    }
    for (let i = 0; i < inTable; i++) {
      const segment = segments[direct + i]!
      const flags = (i + 1 < inTable ? DESC_F.NEXT : 0) | (segment.writable ? DESC_F.WRITE : 0)
      this.writeIndirectDescriptor(head, i, segment.address, segment.length, flags, i + 1)
    }
    this.#firstFree = this.#link[last]!
    this.#freeCount -= needed
    this.#count[head] = needed
    return head
  }

  /** Gives a chain's descriptors back. It must not be in flight. */
  release(head: number): void {
    const count = this.#count[head] ?? 0
    if (count === 0) throw new RangeError(`descriptor ${head} heads no chain`)
    if (this.#submitted[head] !== 0) throw new RangeError(`chain ${head} is in flight`)
    let last = head
    for (let i = 1; i < count; i++) last = this.#link[last]!
    this.#link[last] = this.#firstFree
    this.#firstFree = head
    this.#freeCount += count
    this.#count[head] = 0
  }

  /** Puts a prepared chain into the available ring. The device sees it after `publish`. */
  submit(head: number): void {
    this.#submitted[head] = 1
    this.#outstanding++
    this.submitRaw(head)
  }

  /** `prepare` and `submit` in one. */
  add(segments: readonly ChainSegment[], style: ChainStyle = 'direct'): number {
    const head = this.prepare(segments, style)
    this.submit(head)
    return head
  }

  /**
   * Shows the device everything submitted since the last call. True when it has to be notified: the caller writes to
   * the kick eventfd (virtio 1.3 2.7.13.3, 2.7.10).
   */
  publish(): boolean {
    const now = this.#next
    const old = this.#published
    if (now === old) return false
    this.#published = now
    // Sequentially consistent on both sides: the index is visible before the device's wish is read, else both may
    // sleep.
    Atomics.store(this.#avail, 1, now)
    if (this.eventIdx) {
      return needsEvent(Atomics.load(this.#used16, this.#availEvent), now, old)
    }
    return (Atomics.load(this.#used16, 0) & USED_F_NO_NOTIFY) === 0
  }

  /** Completions waiting in the used ring. UsedRingError when the device's index is impossible. */
  get pending(): number {
    const count = (Atomics.load(this.#used16, 1) - this.#lastUsed) & 0xffff
    if (count > this.#outstanding)
      throw new UsedRingError(`used.idx is ${count} ahead with ${this.#outstanding} in flight`)
    return count
  }

  /**
   * Collects completed chains: their heads go into `heads` (as many as fit), in used-ring order, and their used.len
   * into `usedLength`. Returns how many. A chain stays prepared; `submit` it again or `release` it. UsedRingError when
   * the device completes what was not in flight.
   */
  reap(heads: Int32Array): number {
    const used = this.#used32
    const mask = this.#mask
    const submitted = this.#submitted
    const lengths = this.usedLength
    let last = this.#lastUsed
    let count = (Atomics.load(this.#used16, 1) - last) & 0xffff
    if (count === 0) return 0
    if (count > this.#outstanding)
      throw new UsedRingError(`used.idx is ${count} ahead with ${this.#outstanding} in flight`)
    if (count > heads.length) count = heads.length
    for (let i = 0; i < count; i++) {
      const at = 1 + 2 * (last & mask)
      const head = used[at]!
      // An id beyond the ring reads undefined here, which is not 1 either.
      if (submitted[head] !== 1)
        throw new UsedRingError(`used entry ${last} names chain ${head}, which is not in flight`)
      submitted[head] = 0
      lengths[head] = used[at + 1]!
      heads[i] = head
      last = (last + 1) & 0xffff
    }
    this.#lastUsed = last
    this.#outstanding -= count
    if (this.#suppressed) this.#pushUsedEventAway()
    return count
  }

  /** Asks for no interrupts while the caller polls. A hint: some may still come (virtio 1.3 2.7.7). */
  disableInterrupts(): void {
    if (this.eventIdx) {
      this.#suppressed = true
      Atomics.store(this.#avail, this.#usedEvent, (this.#lastUsed + OUT_OF_REACH) & 0xffff)
    } else {
      Atomics.store(this.#avail, 0, AVAIL_F_NO_INTERRUPT)
    }
  }

  /**
   * Asks for an interrupt at the next completion. True when completions are already waiting, for which none may come:
   * reap again before sleeping (virtio 1.3 2.7.14).
   */
  enableInterrupts(): boolean {
    this.#suppressed = false
    if (this.eventIdx) Atomics.store(this.#avail, this.#usedEvent, this.#lastUsed)
    else Atomics.store(this.#avail, 0, 0)
    return Atomics.load(this.#used16, 1) !== this.#lastUsed
  }

  // ---- raw access, for tests that misbehave

  /** Writes any descriptor into the table. */
  writeDescriptor(index: number, address: number, length: number, flags: number, next: number): void {
    writeDescriptor(this.#desc, index, address, length, flags, next)
  }

  /** Writes any descriptor into the indirect table of a head. */
  writeIndirectDescriptor(head: number, i: number, address: number, length: number, flags: number, next: number): void {
    if (i >= this.#indirectEntries) throw new RangeError(`entry ${i} in a table of ${this.#indirectEntries}`)
    writeDescriptor(this.#table, head * this.#indirectEntries + i, address, length, flags, next)
  }

  /** Guest-physical address of the indirect table of a head. */
  indirectTableAddress(head: number): number {
    return this.#indirectAddress + head * this.#indirectEntries * DESC.SIZE
  }

  /** Puts any 16-bit number into the available ring, without book-keeping. */
  submitRaw(head: number): void {
    const next = this.#next
    this.#avail[2 + (next & this.#mask)] = head
    this.#next = (next + 1) & 0xffff
  }

  /** Stores any available index at once, without book-keeping. */
  publishRaw(index: number): void {
    Atomics.store(this.#avail, 1, index & 0xffff)
  }

  /** used.flags and avail_event as the device left them. */
  get usedFlags(): number {
    return Atomics.load(this.#used16, 0)
  }

  get availEvent(): number {
    return Atomics.load(this.#used16, this.#availEvent)
  }

  /** used.idx as the device left it. */
  get deviceUsedIndex(): number {
    return Atomics.load(this.#used16, 1)
  }

  #pushUsedEventAway(): void {
    const distance = (this.#avail[this.#usedEvent]! - this.#lastUsed) & 0xffff
    if (distance < OUT_OF_REACH / 2 || distance > OUT_OF_REACH) {
      Atomics.store(this.#avail, this.#usedEvent, (this.#lastUsed + OUT_OF_REACH) & 0xffff)
    }
  }
}

function writeDescriptor(
  table: Uint32Array,
  index: number,
  address: number,
  length: number,
  flags: number,
  next: number,
): void {
  const at = index * 4
  // A Uint32Array store is modulo 2^32.
  table[at] = address
  table[at + 1] = address / 2 ** 32
  table[at + 2] = length
  table[at + 3] = (flags & 0xffff) | (next << 16)
}
