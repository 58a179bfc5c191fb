import type { GuestMemory } from './guest-memory.js'
import { DESC, DESC_F } from './split-ring-layout.js'
import type { Chain } from './virtqueue.js'

/** What `DescriptorChain.next` answers. Negative: the chain is broken, and with it the ring. */
export const CHAIN = {
  DESCRIPTOR: 1,
  END: 0,
  HEAD_OUT_OF_RANGE: -1,
  NEXT_OUT_OF_RANGE: -2,
  LOOP: -3,
  NESTED_INDIRECT: -4,
  INDIRECT_LENGTH: -5,
  INDIRECT_ADDRESS: -6,
  INDIRECT_NOT_NEGOTIATED: -7,
  INDIRECT_AND_NEXT: -8,
  READABLE_AFTER_WRITABLE: -9,
  ADDRESS_RANGE: -10,
  TOO_LONG: -11,
} as const

/** Stable names of the broken-chain codes, for logs and counters. */
export const CHAIN_FAULTS: Record<number, string> = {
  [CHAIN.HEAD_OUT_OF_RANGE]: 'VUS_RING_HEAD_OUT_OF_RANGE',
  [CHAIN.NEXT_OUT_OF_RANGE]: 'VUS_RING_NEXT_OUT_OF_RANGE',
  [CHAIN.LOOP]: 'VUS_RING_DESCRIPTOR_LOOP',
  [CHAIN.NESTED_INDIRECT]: 'VUS_RING_NESTED_INDIRECT',
  [CHAIN.INDIRECT_LENGTH]: 'VUS_RING_INDIRECT_LENGTH',
  [CHAIN.INDIRECT_ADDRESS]: 'VUS_RING_INDIRECT_ADDRESS',
  [CHAIN.INDIRECT_NOT_NEGOTIATED]: 'VUS_RING_INDIRECT_NOT_NEGOTIATED',
  [CHAIN.INDIRECT_AND_NEXT]: 'VUS_RING_INDIRECT_AND_NEXT',
  [CHAIN.READABLE_AFTER_WRITABLE]: 'VUS_RING_READABLE_AFTER_WRITABLE',
  [CHAIN.ADDRESS_RANGE]: 'VUS_RING_ADDRESS_RANGE',
  [CHAIN.TOO_LONG]: 'VUS_RING_CHAIN_LENGTH',
}

/** Entries that an indirect table may have: no more than any ring, and so within one memory window. */
const MAX_INDIRECT = 32768

/**
 * Descriptors of one table that are followed: twice what any request may have. Without a bound a guest could keep the
 * thread from others with a few requests, all the same chain of 32,768 empty buffers.
 */
export const MAX_CHAIN = 2048

/** What any longer buffer is taken for. No request may have that much. */
export const LENGTH_MAX = 2 ** 30 + 1

// Constants of this module and of others, as the optimising compiler sees them best: it folds a module's own ones.
const { ADDRESS: DESC_ADDRESS, LENGTH: DESC_LENGTH, FLAGS: DESC_FLAGS, NEXT: DESC_NEXT, SIZE: DESC_SIZE } = DESC
const { NEXT: F_NEXT, WRITE: F_WRITE, INDIRECT: F_INDIRECT } = DESC_F
const { DESCRIPTOR, END, LOOP, ADDRESS_RANGE, READABLE_AFTER_WRITABLE } = CHAIN

/**
 * Walks the descriptors of one chain of a split virtqueue, direct or indirect (virtio 1.3 2.7.5). Every field is read
 * once, checked, and left in `address`, `length` and `writable`: memory that the driver changes meanwhile can give
 * another valid descriptor, never an unchecked one. Whether the buffer is memory at all is for the reader of it to ask.
 */
export class DescriptorChain implements Chain {
  /** Guest physical address of the current buffer, in signed halves: small integers, where a field with a double would be boxed. */
  addressLow = 0
  addressHigh = 0
  /** Its bytes; zero is possible, and more than LENGTH_MAX is said as LENGTH_MAX. */
  length = 0
  writable = false
  /** The head. */
  buffer = 0
  readonly #memory: GuestMemory
  readonly #desc: DataView
  readonly #size: number
  readonly #limit: number
  readonly #indirectAllowed: boolean
  #table: DataView
  /** Byte offset of the table in `#table`, entries in it, the next entry (-1: none), entries left before it must be a loop. */
  #base = 0
  #entries = 0
  #next = 0
  #left = 0
  #indirect = false

  /** @param desc the descriptor table of `size` entries */
  constructor(memory: GuestMemory, desc: DataView, size: number, indirectAllowed: boolean) {
    this.#memory = memory
    this.#desc = desc
    this.#size = size
    this.#limit = Math.min(size, MAX_CHAIN)
    this.#indirectAllowed = indirectAllowed
    this.#table = desc
  }

  /** Begins at a head as fetched from the available ring. */
  start(head: number): void {
    this.#table = this.#desc
    this.#base = 0
    this.#entries = this.#size
    this.#next = head
    this.buffer = head
    this.#left = this.#limit
    this.#indirect = false
    this.writable = false
  }

  /** Moves to the next buffer: CHAIN.DESCRIPTOR, CHAIN.END, or a negative CHAIN code. */
  next(): number {
    const index = this.#next
    if (index < 0) return END
    if (index >= this.#entries)
      return this.#left === this.#limit && !this.#indirect ? CHAIN.HEAD_OUT_OF_RANGE : CHAIN.NEXT_OUT_OF_RANGE
    if (this.#left === 0) return this.#entries > MAX_CHAIN ? CHAIN.TOO_LONG : LOOP
    this.#left--
    const table = this.#table
    const at = this.#base + DESC_SIZE * index
    const high = table.getInt32(at + DESC_ADDRESS + 4, true)
    const length = table.getInt32(at + DESC_LENGTH, true)
    const flags = table.getUint16(at + DESC_FLAGS, true)
    // Below 2^52, so that sums of an address and a length stay exact; no guest has memory there.
    if (high >>> 20 !== 0) return ADDRESS_RANGE
    this.addressLow = table.getInt32(at + DESC_ADDRESS, true)
    this.addressHigh = high
    this.length = length >= 0 && length <= LENGTH_MAX ? length : LENGTH_MAX
    if ((flags & F_INDIRECT) !== 0) return this.#enter(flags)
    this.#next = (flags & F_NEXT) !== 0 ? table.getUint16(at + DESC_NEXT, true) : -1
    const writable = (flags & F_WRITE) !== 0
    if (!writable && this.writable) return READABLE_AFTER_WRITABLE
    this.writable = writable
    return DESCRIPTOR
  }

  /** The address as one Number. */
  get address(): number {
    return this.addressHigh * 2 ** 32 + (this.addressLow >>> 0)
  }

  #enter(flags: number): number {
    const { address, length } = this
    if (!this.#indirectAllowed) return CHAIN.INDIRECT_NOT_NEGOTIATED
    if (this.#indirect) return CHAIN.NESTED_INDIRECT
    if ((flags & DESC_F.NEXT) !== 0) return CHAIN.INDIRECT_AND_NEXT
    if (length === 0 || length % DESC.SIZE !== 0 || length > MAX_INDIRECT * DESC.SIZE) return CHAIN.INDIRECT_LENGTH
    if (!this.#memory.locate(address, length)) return CHAIN.INDIRECT_ADDRESS
    this.#table = this.#memory.views[this.#memory.window]!
    this.#base = this.#memory.offset
    this.#entries = length / DESC.SIZE
    this.#next = 0
    this.#left = Math.min(this.#entries, MAX_CHAIN)
    this.#indirect = true
    return this.next()
  }
}
