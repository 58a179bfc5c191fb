import { viewMemory } from 'memfd-mmap'

/** A guest memory region as this process sees it. Plain data: the main thread maps it once and hands it to the IOThreads. */
export interface MappedRegion {
  /** First guest physical address. */
  readonly guestAddress: number
  /** Bytes. */
  readonly size: number
  /** The front end's own address of the first byte (ring addresses are given in these). */
  readonly userAddress: number
  /** Where this process has it mapped. */
  readonly hostAddress: number
}

/**
 * Windows start every half GiB and reach one MiB into the next, so that no structure of up to a MiB ever straddles two
 * (Node 20 aborts on a view of more than 4 GiB, so a region cannot be one view).
 */
export const WINDOW_STRIDE = 2 ** 29
const WINDOW_OVERLAP = 2 ** 20

/** The longest range that `locate` can promise to find within one window. */
export const MAX_LOCATE = WINDOW_OVERLAP

/** Stands for a window that nothing was looked for in yet. */
const CLOSED = new DataView(new ArrayBuffer(0))
const NO_WORDS = new Uint32Array(0)
const NO_BYTES = new Uint8Array(0)

/**
 * A guest's memory in one thread: translates guest physical addresses to host addresses (for the kernel and memcpy)
 * and to typed-array windows (for structures that this thread reads and writes itself).
 *
 * A window is opened when something is first looked for in it: that costs milliseconds (V8 collects garbage for each
 * view of such a size), which a front end could otherwise multiply by announcing terabytes of sparse memory.
 *
 * Immutable: a new memory table is a new GuestMemory. Whoever replaces one drops it, and with it every view, before the
 * region is unmapped. Lookups return plain Numbers and fields, and allocate nothing.
 */
export class GuestMemory {
  readonly regions: readonly MappedRegion[]
  /** By window; `locate` has opened the one that it found. */
  readonly views: DataView[]
  /** The same in 32-bit words; empty where a window is not open. */
  readonly words: Uint32Array[]
  readonly bytes: Uint8Array[]
  /** The window that the last successful `locate` found, and the offset in it. */
  window = 0
  offset = 0
  readonly #count: number
  readonly #starts: Float64Array
  readonly #ends: Float64Array
  readonly #hosts: Float64Array
  readonly #firstWindow: Int32Array
  /** The guest address of each window's first byte. */
  readonly #windowStarts: Float64Array
  readonly #open: Uint8Array
  /** The largest region is tried first: it is nearly always the one. */
  readonly #largest: number

  constructor(regions: readonly MappedRegion[]) {
    this.regions = regions.toSorted((a, b) => a.guestAddress - b.guestAddress)
    const count = this.regions.length
    this.#count = count
    this.#starts = new Float64Array(count)
    this.#ends = new Float64Array(count)
    this.#hosts = new Float64Array(count)
    this.#firstWindow = new Int32Array(count)
    let largest = 0
    let windows = 0
    this.regions.forEach((region, i) => {
      this.#starts[i] = region.guestAddress
      this.#ends[i] = region.guestAddress + region.size
      this.#hosts[i] = region.hostAddress
      this.#firstWindow[i] = windows
      if (region.size > this.regions[largest]!.size) largest = i
      windows += Math.ceil(region.size / WINDOW_STRIDE)
    })
    this.#windowStarts = new Float64Array(windows)
    this.regions.forEach(({ guestAddress, size }, i) => {
      for (let start = 0, at = this.#firstWindow[i]!; start < size; start += WINDOW_STRIDE, at++)
        this.#windowStarts[at] = guestAddress + start
    })
    this.#largest = largest
    this.views = new Array(windows).fill(CLOSED)
    this.words = new Array(windows).fill(NO_WORDS)
    this.bytes = new Array(windows).fill(NO_BYTES)
    this.#open = new Uint8Array(windows)
  }

  #openWindow(window: number, region: number): void {
    const { hostAddress, size } = this.regions[region]!
    const start = (window - this.#firstWindow[region]!) * WINDOW_STRIDE
    const buffer = viewMemory(hostAddress + start, Math.min(size - start, WINDOW_STRIDE + WINDOW_OVERLAP))
    this.views[window] = new DataView(buffer)
    this.words[window] = new Uint32Array(buffer, 0, buffer.byteLength >>> 2)
    this.bytes[window] = new Uint8Array(buffer)
    this.#open[window] = 1
  }

  /** The largest region; undefined when there is no memory at all. */
  get largest(): MappedRegion | undefined {
    return this.regions[this.#largest]
  }

  get firstWindowOfLargest(): number {
    return this.#firstWindow[this.#largest] ?? 0
  }

  /** The index of the region that holds the guest address, or -1. */
  #find(address: number): number {
    const starts = this.#starts
    const ends = this.#ends
    let low = this.#largest
    if (address >= starts[low]! && address < ends[low]!) return low
    low = 0
    let high = this.#count - 1
    while (low <= high) {
      const middle = (low + high) >>> 1
      if (address < starts[middle]!) high = middle - 1
      else if (address >= ends[middle]!) low = middle + 1
      else return middle
    }
    return -1
  }

  /** The host address of guest memory [address, address + length), or -1 unless all of it lies in one region. */
  translate(address: number, length: number): number {
    const region = this.#find(address)
    if (region < 0 || address + length > this.#ends[region]!) return -1
    return this.#hosts[region]! + (address - this.#starts[region]!)
  }

  /** How many bytes from `address` on lie in its region; 0 if it lies in none. */
  contiguous(address: number): number {
    const region = this.#find(address)
    return region < 0 ? 0 : this.#ends[region]! - address
  }

  /**
   * Finds the window for [address, address + length), length at most MAX_LOCATE, and leaves it in `window` and
   * `offset`. False unless all of it lies in one region.
   */
  locate(address: number, length: number): boolean {
    const region = this.#find(address)
    if (region < 0 || address + length > this.#ends[region]!) return false
    const relative = address - this.#starts[region]!
    let window = this.#firstWindow[region]!
    // `| 0`: they stay small integers, which a field holds without a box.
    if (relative < WINDOW_STRIDE) {
      this.offset = relative | 0
    } else {
      const nth = (relative / WINDOW_STRIDE) | 0
      window += nth
      this.offset = (relative - nth * WINDOW_STRIDE) | 0
    }
    this.window = window
    if (this.#open[window] === 0) this.#openWindow(window, region)
    return true
  }

  /** The guest address of an offset in a window: what `locate` was asked for. */
  guestOfWindow(window: number, offset: number): number {
    return this.#windowStarts[window]! + offset
  }

  /** The guest address of memory at a host address that `translate` answered; -1 for any other. */
  guestOfHost(host: number): number {
    const starts = this.#starts
    const largest = this.#largest
    let relative = host - this.#hosts[largest]!
    if (relative >= 0 && relative < this.#ends[largest]! - starts[largest]!) return starts[largest]! + relative
    for (let i = 0; i < this.#count; i++) {
      relative = host - this.#hosts[i]!
      if (relative >= 0 && relative < this.#ends[i]! - starts[i]!) return starts[i]! + relative
    }
    return -1
  }

  /** The host address of [userAddress, userAddress + length) of the front end, or -1 unless it lies in one region. */
  translateUser(userAddress: number, length: number): number {
    for (const region of this.regions) {
      const relative = userAddress - region.userAddress
      if (relative >= 0 && relative + length <= region.size) return region.hostAddress + relative
    }
    return -1
  }

  /** Copies `length` bytes at a guest address, over region borders too. False, with part of it copied, if some is not memory. */
  read(address: number, into: Uint8Array, offset: number, length: number): boolean {
    while (length > 0) {
      const part = Math.min(length, this.contiguous(address), MAX_LOCATE)
      if (part === 0 || !this.locate(address, part)) return false
      const bytes = this.bytes[this.window]!
      for (let i = 0; i < part; i++) into[offset + i] = bytes[this.offset + i]!
      address += part
      offset += part
      length -= part
    }
    return true
  }

  /** Copies `length` bytes to a guest address, over region borders too. False, with part of it copied, if some is not memory. */
  write(address: number, from: Uint8Array, offset: number, length: number): boolean {
    while (length > 0) {
      const part = Math.min(length, this.contiguous(address), MAX_LOCATE)
      if (part === 0 || !this.locate(address, part)) return false
      const bytes = this.bytes[this.window]!
      for (let i = 0; i < part; i++) bytes[this.offset + i] = from[offset + i]!
      address += part
      offset += part
      length -= part
    }
    return true
  }

  /** Copies at most MAX_LOCATE private bytes to memory at a host address that `translate` answered. */
  copyToHost(host: number, from: Uint8Array, offset: number, length: number): void {
    this.#locateHost(host)
    const bytes = this.bytes[this.window]!
    for (let i = 0; i < length; i++) bytes[this.offset + i] = from[offset + i]!
  }

  /** Copies at most MAX_LOCATE bytes of memory at a host address that `translate` answered to private ones. */
  copyFromHost(host: number, into: Uint8Array, offset: number, length: number): void {
    this.#locateHost(host)
    const bytes = this.bytes[this.window]!
    for (let i = 0; i < length; i++) into[offset + i] = bytes[this.offset + i]!
  }

  #locateHost(host: number): void {
    for (let i = 0; i < this.#count; i++) {
      const relative = host - this.#hosts[i]!
      const start = this.#starts[i]!
      if (relative >= 0 && relative < this.#ends[i]! - start) {
        this.locate(start + relative, 1)
        return
      }
    }
    throw new RangeError(`no guest memory at host address ${host}`)
  }
}
