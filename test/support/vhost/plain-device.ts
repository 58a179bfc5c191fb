import type { ChainSegment, SplitDriver } from 'vhost-user-protocol-ts'

const NEXT = 1
const WRITE = 2
const INDIRECT = 4

/**
 * The device side of a split ring, written as plainly as the standard reads (virtio 1.3 2.7): the twin that
 * SplitDriver is checked against. BigInts and DataViews throughout.
 */
export class PlainDevice {
  readonly #view: DataView
  readonly #base: bigint
  readonly #eventIdx: boolean
  readonly #size: number
  readonly #desc: number
  readonly #avail: number
  readonly #used: number
  #lastAvail = 0
  #usedIdx = 0
  #signalled = 0

  /** `buffer` holds guest memory from guest-physical address `base` on. */
  constructor(driver: SplitDriver, buffer: ArrayBuffer, base: number, eventIdx: boolean) {
    this.#view = new DataView(buffer)
    this.#base = BigInt(base)
    this.#eventIdx = eventIdx
    this.#size = driver.size
    this.#desc = driver.descAddress - base
    this.#avail = driver.availAddress - base
    this.#used = driver.usedAddress - base
  }

  get availIndex(): number {
    return this.#view.getUint16(this.#avail + 2, true)
  }

  availEntry(i: number): number {
    return this.#view.getUint16(this.#avail + 4 + 2 * i, true)
  }

  descriptor(i: number, table = this.#desc) {
    const at = table + 16 * i
    return {
      address: this.#view.getBigUint64(at, true),
      length: this.#view.getUint32(at + 8, true),
      flags: this.#view.getUint16(at + 12, true),
      next: this.#view.getUint16(at + 14, true),
    }
  }

  /** The next available chain, or undefined when there is none. */
  fetch(): { head: number; segments: ChainSegment[] } | undefined {
    // The driver may have reset the ring.
    if (this.availIndex === 0 && this.#view.getUint16(this.#used + 2, true) === 0) this.#lastAvail = this.#usedIdx = 0
    if (this.#lastAvail === this.availIndex) return undefined
    const head = this.availEntry(this.#lastAvail % this.#size)
    this.#lastAvail = (this.#lastAvail + 1) & 0xffff
    const segments: ChainSegment[] = []
    let table = this.#desc
    for (let i = head; ; ) {
      const d = this.descriptor(i, table)
      if (d.flags & INDIRECT) {
        table = Number(d.address - this.#base)
        i = 0
        continue
      }
      segments.push({ address: Number(d.address), length: d.length, writable: (d.flags & WRITE) !== 0 })
      if (!(d.flags & NEXT)) return { head, segments }
      i = d.next
    }
  }

  /** Pushes one used element. */
  complete(head: number, length: number): void {
    const at = this.#used + 4 + 8 * (this.#usedIdx % this.#size)
    this.#view.setUint32(at, head, true)
    this.#view.setUint32(at + 4, length, true)
    this.#usedIdx = (this.#usedIdx + 1) & 0xffff
    this.#view.setUint16(this.#used + 2, this.#usedIdx, true)
  }

  /** Whether the completions since the last call call for an interrupt (virtio 1.3 2.7.7.2, 2.7.10). */
  wantsInterrupt(): boolean {
    const old = this.#signalled
    this.#signalled = this.#usedIdx
    if (!this.#eventIdx) return (this.#view.getUint16(this.#avail, true) & 1) === 0
    const event = this.#view.getUint16(this.#avail + 4 + 2 * this.#size, true)
    for (let i = old; i !== this.#usedIdx; i = (i + 1) & 0xffff) if (i === event) return true
    return false
  }

  setAvailEvent(index: number): void {
    this.#view.setUint16(this.#used + 4 + 8 * this.#size, index & 0xffff, true)
  }

  setUsedFlags(flags: number): void {
    this.#view.setUint16(this.#used, flags, true)
  }
}
