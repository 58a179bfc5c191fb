import { CHAIN, LENGTH_MAX, MAX_CHAIN } from './descriptor-chain.js'
import type { GuestMemory } from './guest-memory.js'
import { PACKED_DESC, PACKED_DESC_F, PACKED_SIZE_MAX } from './packed-ring-layout.js'
import { packedBuffer } from './packed-virtqueue.js'
import type { Chain } from './virtqueue.js'

// Constants of this module and of others, as the optimising compiler sees them best: it folds a module's own ones.
const { ADDRESS, LENGTH, ID, FLAGS, SIZE } = PACKED_DESC
const { NEXT, WRITE, INDIRECT } = PACKED_DESC_F
const { DESCRIPTOR, END, ADDRESS_RANGE, READABLE_AFTER_WRITABLE } = CHAIN

/**
 * Walks the descriptors of one chain of a packed virtqueue (virtio 1.3 2.8.5 to 2.8.7), direct or indirect, with the
 * fields and CHAIN codes of DescriptorChain. A direct chain is the descriptors from its first one on, around the end of
 * the ring, as long as they say NEXT; an indirect one is a table whose entries all count, and of their flags only
 * WRITE. Every field is read once and checked: memory that the driver changes meanwhile can give another valid
 * descriptor, never an unchecked one.
 *
 * It knows no queue: any memory with descriptors in ring form can be walked, such as a copy that survived a crash.
 */
export class PackedChain implements Chain {
  /** Guest physical address of the current buffer, in signed halves: small integers, where a field with a double would be boxed. */
  addressLow = 0
  addressHigh = 0
  /** Its bytes; zero is possible, and more than LENGTH_MAX is said as LENGTH_MAX. */
  length = 0
  writable = false
  /** The buffer id, once the walk has ended; and descriptors of the ring that the chain takes, as far as it was walked. */
  id = 0
  count = 0
  readonly #memory: GuestMemory
  readonly #desc: DataView
  readonly #size: number
  readonly #limit: number
  readonly #indirectAllowed: boolean
  #table: DataView
  /** Byte offset of the next descriptor in `#table`; whether there is one; how many more are followed, -1: no start. */
  #at = 0
  #more = false
  #left = 0
  /** Entries of an indirect table that were not walked yet; 0: it is not in one. */
  #entries = 0

  /** @param desc the descriptor ring of `size` entries */
  constructor(memory: GuestMemory, desc: DataView, size: number, indirectAllowed: boolean) {
    this.#memory = memory
    this.#desc = desc
    this.#size = size
    this.#limit = Math.min(size, MAX_CHAIN)
    this.#indirectAllowed = indirectAllowed
    this.#table = desc
  }

  /** Begins at a ring index, as `fetch` answers it. */
  start(head: number): void {
    this.#table = this.#desc
    this.#at = SIZE * head
    this.#more = true
    this.#left = head >= 0 && head < this.#size ? this.#limit : -1
    this.#entries = 0
    this.writable = false
    this.count = 0
  }

  /** Moves to the next buffer: CHAIN.DESCRIPTOR, CHAIN.END, or a negative CHAIN code. */
  next(): number {
    if (!this.#more) return END
    if (this.#left <= 0) return this.#tooLong()
    this.#left--
    const table = this.#table
    const at = this.#at
    const high = table.getInt32(at + ADDRESS + 4, true)
    const length = table.getInt32(at + LENGTH, true)
    const flags = table.getUint16(at + FLAGS, true)
    // Below 2^52, so that sums of an address and a length stay exact; no guest has memory there.
    if (high >>> 20 !== 0) return ADDRESS_RANGE
    this.addressLow = table.getInt32(at + ADDRESS, true)
    this.addressHigh = high
    this.length = length >= 0 && length <= LENGTH_MAX ? length : LENGTH_MAX
    if (this.#entries > 0) {
      this.#at = at + SIZE
      this.#more = --this.#entries > 0
    } else {
      this.count++
      if ((flags & INDIRECT) !== 0) return this.#enter(at, flags)
      if ((flags & NEXT) !== 0) {
        this.#at = at + SIZE < SIZE * this.#size ? at + SIZE : 0
      } else {
        this.#more = false
        this.id = table.getUint16(at + ID, true)
      }
    }
    const writable = (flags & WRITE) !== 0
    if (!writable && this.writable) return READABLE_AFTER_WRITABLE
    this.writable = writable
    return DESCRIPTOR
  }

  /** The address as one Number. */
  get address(): number {
    return this.addressHigh * 2 ** 32 + (this.addressLow >>> 0)
  }

  /** After CHAIN.END: what stands for the chain in PackedVirtqueue.advance and push. */
  get buffer(): number {
    return packedBuffer(this.id, this.count)
  }

  #tooLong(): number {
    if (this.#left < 0) return CHAIN.HEAD_OUT_OF_RANGE
    // A chain that is longer than the ring meets a descriptor twice.
    return this.#entries > 0 || this.#size > MAX_CHAIN ? CHAIN.TOO_LONG : CHAIN.LOOP
  }

  #enter(at: number, flags: number): number {
    const { address, length } = this
    if (!this.#indirectAllowed) return CHAIN.INDIRECT_NOT_NEGOTIATED
    if ((flags & NEXT) !== 0 || this.count > 1) return CHAIN.INDIRECT_AND_NEXT
    if (length === 0 || length % SIZE !== 0 || length > PACKED_SIZE_MAX * SIZE) return CHAIN.INDIRECT_LENGTH
    if (!this.#memory.locate(address, length)) return CHAIN.INDIRECT_ADDRESS
    this.id = this.#table.getUint16(at + ID, true)
    this.#table = this.#memory.views[this.#memory.window]!
    this.#at = this.#memory.offset
    this.#entries = length / SIZE
    this.#left = MAX_CHAIN
    return this.next()
  }
}
