import type { LoggedRange } from './dirty-log.js'
import {
  AVAIL_F_NO_INTERRUPT,
  availEventOffset,
  needsEvent,
  USED_F_NO_NOTIFY,
  usedEventOffset,
} from './split-ring-layout.js'
import type { Virtqueue } from './virtqueue.js'

export interface SplitVirtqueueOptions {
  /** Descriptors, a power of two. */
  size: number
  /** The three areas in memory, each from its first byte. */
  desc: ArrayBufferLike
  avail: ArrayBufferLike
  used: ArrayBufferLike
  /** The next available index to fetch, and so the used index too: nothing is in flight. 16 bits. */
  base: number
  /** VIRTIO_F_EVENT_IDX was negotiated. */
  eventIdx: boolean
  /** The used ring in the dirty log of a migration; absent or null: writes to it are not logged. */
  usedLog?: LoggedRange | null
}

const FLAGS = 0
const IDX = 1
const RING = 2

/**
 * The device's side of a split virtqueue (virtio 1.3 2.7). Holds no request state: it fetches heads, pushes used
 * elements and decides about notifications both ways. A driver's nonsense is answered by a return value, never thrown.
 *
 * Index reads and writes that order other memory accesses are Atomics (sequentially consistent, on memory shared with
 * another process); everything between two of them is plain.
 */
export class SplitVirtqueue implements Virtqueue {
  readonly packed = false
  readonly size: number
  readonly desc: DataView
  readonly eventIdx: boolean
  readonly #mask: number
  readonly #avail: Uint16Array
  readonly #used: Uint16Array
  readonly #usedElements: Uint32Array
  readonly #usedEvent: number
  readonly #availEvent: number
  readonly #usedLog: LoggedRange | null
  /** Next available index to fetch. */
  #next: number
  /** The driver's index as last read. */
  #end: number
  /** Used index including what is not published yet. */
  #usedIdx: number
  /** Used index that the driver can see. */
  #published: number

  constructor(options: SplitVirtqueueOptions) {
    const { size } = options
    this.size = size
    this.#mask = size - 1
    this.desc = new DataView(options.desc, 0, 16 * size)
    this.#avail = new Uint16Array(options.avail, 0, 3 + size)
    this.#used = new Uint16Array(options.used, 0, 3 + 4 * size)
    // used.ring starts at byte 4: element i is words 1 + 2i (id) and 2 + 2i (len).
    this.#usedElements = new Uint32Array(options.used, 0, 1 + 2 * size)
    this.eventIdx = options.eventIdx
    this.#usedEvent = usedEventOffset(size) / 2
    this.#availEvent = availEventOffset(size) / 2
    this.#usedLog = options.usedLog ?? null
    this.#next = options.base & 0xffff
    this.#end = this.#next
    this.#usedIdx = Atomics.load(this.#used, IDX)
    this.#published = this.#usedIdx
  }

  /** The next available index that will be fetched. */
  get nextAvailable(): number {
    return this.#next
  }

  /** Where the ring stands, as GET_VRING_BASE answers it. */
  get base(): number {
    return this.#next
  }

  /**
   * Reads the driver's index: how many heads may be fetched now. More than the ring holds is a broken ring: -1.
   */
  available(): number {
    this.#end = Atomics.load(this.#avail, IDX)
    const count = (this.#end - this.#next) & 0xffff
    return count <= this.size ? count : -1
  }

  /** Whether the driver has made anything available since the last fetch; for polling. A broken index counts as yes. */
  hasAvailable(): boolean {
    return Atomics.load(this.#avail, IDX) !== this.#next
  }

  /** Fetches the next head. Only after `available` promised one. The value is the driver's: check it against `size`. */
  fetch(): number {
    const head = this.#avail[RING + (this.#next & this.#mask)]!
    this.#next = (this.#next + 1) & 0xffff
    return head
  }

  /** A split ring's `fetch` has gone on already. */
  advance(_buffer: number): void {}

  /** Puts the last fetched head back. */
  unfetch(): void {
    this.#next = (this.#next - 1) & 0xffff
  }

  /** Adds a used element; the driver sees it after `publish`. `length`: bytes written to the chain, counted from its start. */
  push(head: number, length: number): void {
    const at = 1 + 2 * (this.#usedIdx & this.#mask)
    this.#usedElements[at] = head
    this.#usedElements[at + 1] = length
    this.#usedIdx = (this.#usedIdx + 1) & 0xffff
  }

  /** Whether used elements wait to be published. */
  get unpublished(): boolean {
    return this.#usedIdx !== this.#published
  }

  /** Shows all pushed elements to the driver. True if it wants to be notified of them (virtio 1.3 2.7.7, 2.7.10). */
  publish(): boolean {
    const before = this.#published
    const after = this.#usedIdx
    if (before === after) return false
    this.#published = after
    Atomics.store(this.#used, IDX, after)
    if (this.#usedLog !== null) this.#usedLog.mark()
    // The store above and the load below must not be swapped, or a notification is lost: both are Atomics.
    if (this.eventIdx) return needsEvent(Atomics.load(this.#avail, this.#usedEvent), after, before)
    return (Atomics.load(this.#avail, FLAGS) & AVAIL_F_NO_INTERRUPT) === 0
  }

  /**
   * Asks the driver to notify of the next head it adds. True if some came in before the driver could know: then fetch
   * again instead of going to sleep.
   */
  enableNotifications(): boolean {
    if (this.eventIdx) Atomics.store(this.#used, this.#availEvent, this.#next)
    else Atomics.store(this.#used, FLAGS, 0)
    if (this.#usedLog !== null) this.#usedLog.mark()
    return this.hasAvailable()
  }

  /**
   * Tells the driver that it need not notify. With EVENT_IDX it may do so once when its index comes round to avail_event,
   * which is put behind it.
   */
  disableNotifications(): void {
    if (this.eventIdx) this.#used[this.#availEvent] = this.#next - 1
    else this.#used[FLAGS] = USED_F_NO_NOTIFY
    if (this.#usedLog !== null) this.#usedLog.mark()
  }
}
