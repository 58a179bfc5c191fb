/**
 * Both sides of a packed ring, written as plainly as the standard reads (virtio 1.3 2.8): the twins that PackedDriver and
 * PackedVirtqueue are checked against. DataViews, BigInts, and a step for each descriptor.
 */

const NEXT = 1
const WRITE = 2
const INDIRECT = 4
const AVAIL = 1 << 7
const USED = 1 << 15

/** One buffer of a chain. */
export interface PlainElement {
  readonly address: number
  readonly length: number
  readonly writable: boolean
}

/** A descriptor's number and the wrap counter of the lap. */
export interface Place {
  readonly index: number
  readonly wrap: boolean
}

export const samePlace = (a: Place, b: Place): boolean => a.index === b.index && a.wrap === b.wrap

/** A side's own place in the ring, moved on one descriptor at a time (virtio 1.3 2.8.1). */
export class Cursor {
  readonly #size: number
  #index: number
  #wrap: boolean

  constructor(size: number, start: Place) {
    this.#size = size
    this.#index = start.index
    this.#wrap = start.wrap
  }

  get place(): Place {
    return { index: this.#index, wrap: this.#wrap }
  }

  step(): void {
    this.#index++
    if (this.#index === this.#size) {
      this.#index = 0
      this.#wrap = !this.#wrap
    }
  }

  /** Moves on; the places that were passed. */
  pass(count: number): Place[] {
    const passed: Place[] = []
    for (let i = 0; i < count; i++) {
      passed.push(this.place)
      this.step()
    }
    return passed
  }
}

/** The three parts of a packed ring. */
export class PlainParts {
  readonly size: number
  readonly ring: DataView
  readonly driverEvent: DataView
  readonly deviceEvent: DataView

  constructor(size: number, ring: DataView, driverEvent: DataView, deviceEvent: DataView) {
    this.size = size
    this.ring = ring
    this.driverEvent = driverEvent
    this.deviceEvent = deviceEvent
  }

  /** A ring with memory of its own. */
  static create(size: number): PlainParts {
    const view = (bytes: number): DataView => new DataView(new SharedArrayBuffer(bytes))
    return new PlainParts(size, view(16 * size), view(4), view(4))
  }

  /** Leaves the ring as one whose descriptors have all been used up to `start`. */
  age(start: Place): void {
    for (let i = 0; i < this.size; i++) {
      const wrap = i < start.index ? start.wrap : !start.wrap
      this.ring.setUint16(16 * i + 14, wrap ? AVAIL | USED : 0, true)
    }
  }

  descriptor(index: number): { address: bigint; length: number; id: number; flags: number } {
    return readDescriptor(this.ring, 16 * index)
  }

  write(index: number, address: bigint, length: number, id: number, flags: number): void {
    this.ring.setBigUint64(16 * index, address, true)
    this.ring.setUint32(16 * index + 8, length, true)
    this.ring.setUint16(16 * index + 12, id, true)
    this.ring.setUint16(16 * index + 14, flags, true)
  }

  isAvailable({ index, wrap }: Place): boolean {
    const { flags } = this.descriptor(index)
    return ((flags & AVAIL) !== 0) === wrap && ((flags & USED) !== 0) !== wrap
  }

  isUsed({ index, wrap }: Place): boolean {
    const { flags } = this.descriptor(index)
    return ((flags & AVAIL) !== 0) === wrap && ((flags & USED) !== 0) === wrap
  }
}

export function readDescriptor(view: DataView, at: number) {
  return {
    address: view.getBigUint64(at, true),
    length: view.getUint32(at + 8, true),
    id: view.getUint16(at + 12, true),
    flags: view.getUint16(at + 14, true),
  }
}

/** Writes an event suppression structure. */
export function setEvent(view: DataView, flags: number, place: Place = { index: 0, wrap: false }): void {
  view.setUint16(0, place.index | (place.wrap ? 0x8000 : 0), true)
  view.setUint16(2, flags, true)
}

/** Whether what was made available or used at `passed` is to be told of (virtio 1.3 2.8.10). */
export function wantsEvent(view: DataView, eventIdx: boolean, size: number, passed: readonly Place[]): boolean {
  if (passed.length === 0) return false
  const position = view.getUint16(0, true)
  const flags = view.getUint16(2, true) & 3
  const event = { index: position & 0x7fff, wrap: position >= 0x8000 }
  if (flags === 1) return false
  if (flags !== 2 || !eventIdx || event.index >= size) return true
  return passed.some((place) => samePlace(place, event))
}

/** The driver (virtio 1.3 2.8.21.1.1 and 2.8.22, the examples). */
export class PlainPackedDriver {
  readonly parts: PlainParts
  readonly #eventIdx: boolean
  readonly #next: Cursor
  readonly #used: Cursor
  /** By id, first in first out: how many descriptors each buffer took. */
  readonly #sgs = new Map<number, number[]>()
  #free: number
  #passed: Place[] = []
  /** What becomes visible at the next `publish`. */
  #deferred: (() => void) | undefined

  constructor(parts: PlainParts, eventIdx: boolean, start: Place = { index: 0, wrap: true }) {
    this.parts = parts
    this.#eventIdx = eventIdx
    this.#next = new Cursor(parts.size, start)
    this.#used = new Cursor(parts.size, start)
    this.#free = parts.size
  }

  get free(): number {
    return this.#free
  }

  get next(): Place {
    return this.#next.place
  }

  get used(): Place {
    return this.#used.place
  }

  /** Puts a buffer of direct descriptors, or of one that refers to a table, into the ring. */
  add(id: number, elements: readonly PlainElement[], table?: { address: number; bytes: number }): void {
    const descriptors =
      table === undefined
        ? elements.map((each, i) => ({
            ...each,
            flags: (each.writable ? WRITE : 0) | (i + 1 < elements.length ? NEXT : 0),
          }))
        : [{ address: table.address, length: table.bytes, flags: INDIRECT }]
    if (descriptors.length > this.#free) throw new Error('the ring has no room')
    descriptors.forEach(({ address, length, flags }, i) => {
      const { index, wrap } = this.#next.place
      const all = flags | (wrap ? AVAIL : USED)
      // The id counts in the last descriptor alone.
      const own = i + 1 < descriptors.length ? 0xdead : id
      const old = this.parts.descriptor(index).flags
      this.parts.write(index, BigInt(address), length, own, this.#deferred === undefined ? old : all)
      this.#deferred ??= () => this.parts.ring.setUint16(16 * index + 14, all, true)
      this.#passed.push(this.#next.place)
      this.#next.step()
    })
    this.#free -= descriptors.length
    this.#sgs.set(id, [...(this.#sgs.get(id) ?? []), descriptors.length])
  }

  /** Shows what was added; whether the device is to be notified. */
  publish(): boolean {
    this.#deferred?.()
    this.#deferred = undefined
    const passed = this.#passed
    this.#passed = []
    return wantsEvent(this.parts.deviceEvent, this.#eventIdx, this.parts.size, passed)
  }

  /** The next used buffer, if there is one. */
  reap(): { id: number; length: number; written: boolean } | undefined {
    if (!this.parts.isUsed(this.#used.place)) return undefined
    const { id, length, flags } = this.parts.descriptor(this.#used.place.index)
    const [sgs, ...more] = this.#sgs.get(id) ?? []
    if (sgs === undefined) throw new Error(`id ${id} is not in flight`)
    if (more.length === 0) this.#sgs.delete(id)
    else this.#sgs.set(id, more)
    this.#used.pass(sgs)
    this.#free += sgs
    return { id, length, written: (flags & WRITE) !== 0 }
  }
}

/** The device. */
export class PlainPackedDevice {
  readonly #parts: PlainParts
  readonly #memory: DataView
  readonly #base: bigint
  readonly #eventIdx: boolean
  readonly #next: Cursor
  readonly #used: Cursor
  #passed: Place[] = []

  /** `memory` holds guest memory from guest-physical address `base` on, for indirect tables. */
  constructor(
    parts: PlainParts,
    memory: DataView,
    base: number,
    eventIdx: boolean,
    start: Place = { index: 0, wrap: true },
  ) {
    this.#parts = parts
    this.#memory = memory
    this.#base = BigInt(base)
    this.#eventIdx = eventIdx
    this.#next = new Cursor(parts.size, start)
    this.#used = new Cursor(parts.size, start)
  }

  get next(): Place {
    return this.#next.place
  }

  get used(): Place {
    return this.#used.place
  }

  /** The next available buffer, or undefined when there is none; `count`: descriptors that it takes. */
  fetch(): { id: number; count: number; segments: PlainElement[] } | undefined {
    if (!this.#parts.isAvailable(this.#next.place)) return undefined
    const segments: PlainElement[] = []
    const add = (d: { address: bigint; length: number; flags: number }): void => {
      segments.push({ address: Number(d.address), length: d.length, writable: (d.flags & WRITE) !== 0 })
    }
    for (let count = 1; ; count++) {
      const d = this.#parts.descriptor(this.#next.place.index)
      if (!this.#parts.isAvailable(this.#next.place)) throw new Error('a chain that is not available to its end')
      this.#next.step()
      if (d.flags & INDIRECT) {
        const table = Number(d.address - this.#base)
        for (let at = 0; at < d.length; at += 16) {
          const entry = readDescriptor(this.#memory, table + at)
          if ((entry.flags & ~WRITE) !== 0) throw new Error('a flag in an indirect table')
          add(entry)
        }
      } else {
        add(d)
      }
      if (!(d.flags & NEXT)) return { id: d.id, count, segments }
    }
  }

  /** Writes one used descriptor, and goes on behind the chain. */
  complete(id: number, count: number, length: number): void {
    const { index, wrap } = this.#used.place
    const { address } = this.#parts.descriptor(index)
    this.#parts.write(index, address, length, id, (wrap ? AVAIL | USED : 0) | (length > 0 ? WRITE : 0))
    this.#passed.push(...this.#used.pass(count))
  }

  /** Whether the completions since the last call call for an interrupt. */
  wantsInterrupt(): boolean {
    const passed = this.#passed
    this.#passed = []
    return wantsEvent(this.#parts.driverEvent, this.#eventIdx, this.#parts.size, passed)
  }
}
