import { InflightCounter } from './inflight-counter.js'
import { INFLIGHT_UNUSABLE, INFLIGHT_VERSION, PACKED_REGION, PACKED_STATE } from './inflight-layout.js'
import { packedAdvance, readPackedRemains, settlePackedRemains } from './packed-inflight-recovery.js'
import { PackedInflightRegion } from './packed-inflight-region.js'
import { PACKED_DESC, PACKED_DESC_F } from './packed-ring-layout.js'
import { packedBuffer } from './packed-virtqueue.js'

const { VERSION, DESC_NUM, DESC } = PACKED_REGION
const { INFLIGHT, NEXT, COUNTER, SIZE } = PACKED_STATE

// In 32-bit words: of a descriptor of the ring, and of the entry that keeps it.
const RING_WORDS = PACKED_DESC.SIZE / 4
const RING_LENGTH = 2
const RING_ID_FLAGS = 3
const FIRST = DESC / 4
const WORDS = SIZE / 4
const LAST_NUM = PACKED_STATE.LAST / 4
const ID_FLAGS = PACKED_STATE.ID / 4
const LENGTH = PACKED_STATE.LENGTH / 4
const ADDRESS = PACKED_STATE.ADDRESS / 4
const F_NEXT = PACKED_DESC_F.NEXT << 16

/**
 * Notes what is in flight in a packed virtqueue, in memory that outlives this process (vhost-user.rst "Inflight I/O
 * tracking"), with the descriptors: their places in the ring get used by completions of others. Besides `start`, which
 * takes over what a predecessor left, and `restore`, everything only writes to the region: its owner may change it at
 * any time, and does harm to nobody else.
 *
 * How it is called: `start` before anything is fetched; the requests in `heads` are served again, from their
 * descriptors by `restore`. `fetch` for each chain that was walked to its end, before the next one is fetched.
 * `complete` right before every PackedVirtqueue.push, whether of fetched or of restarted requests. Then `beforePublish`,
 * PackedVirtqueue.publish, `afterPublish`, in this order.
 *
 * Why a process may be killed between any two stores. What can reorder is the compiler: Atomics.store is not passed by
 * stores before it, Atomics.load not by stores after it, and neither by the other.
 * - `fetch` fills entries that are free, and then takes them off the free list, with both of its heads in one store. Before
 *   that the successor finds them free, clears the flag, and fetches the chain again: it goes on at the used position
 *   plus the descriptors of all chains in flight.
 * - `complete` keeps the used descriptor, which may overwrite the chain's own, behind that.
 * - `beforePublish` links the batch to the free list, of which the old head knows nothing, and announces the new used
 *   position. Until the ring says otherwise the successor takes the old ones, and serves the batch again.
 * - PackedVirtqueue.publish stores the flags of the batch's first descriptor: the driver has the batch. The successor
 *   sees two positions, looks at the descriptor at the old one, and takes the new ones. There the batch is free, and so
 *   its flags count no more.
 * - `afterPublish` clears the flags: after the ring's, because publish ends with a load. Then come the free list's
 *   heads and at last the positions; as long as these differ the successor does the same.
 * The specification would have a batch begun as its first request is completed. A fetch in between would make half of it
 * permanent, so all of it happens at publication.
 */
export class PackedInflight {
  /** What `start` found in flight, in the order it was fetched in: numbers for `restore` and `complete`. */
  readonly heads: Int32Array
  readonly #region: PackedInflightRegion
  readonly #bytes: Uint8Array
  readonly #halves: Uint16Array
  readonly #words: Int32Array
  readonly #ring: Int32Array
  readonly #ringHalves: Uint16Array
  readonly #size: number
  readonly #counter = new InflightCounter()
  /** The region's lists, which nobody else can change: links by entry, last entry and descriptors by first entry. */
  #next: Uint16Array
  #last: Uint16Array
  #num: Uint16Array
  /** First free entry, how many are free, position of the next descriptor to use. */
  #free = 0
  #freeCount = 0
  #used = 0
  /** Whether a chain was fetched and nothing was completed since. */
  #fetched = false
  readonly #batch: Uint16Array
  #batchCount = 0
  #batchDescriptors = 0
  #base = 0

  /**
   * @param buffer the queue's region, from its first byte, on a multiple of 8 @param entries that it has room for
   * @param ring the descriptor ring, from its first byte @param size its descriptors, at most `entries`
   */
  constructor(buffer: ArrayBufferLike, entries: number, ring: ArrayBufferLike, size: number) {
    this.#region = new PackedInflightRegion(buffer, entries)
    this.#bytes = this.#region.bytes
    this.#halves = this.#region.halves
    this.#words = this.#region.words
    this.#ring = new Int32Array(ring, 0, RING_WORDS * size)
    this.#ringHalves = new Uint16Array(ring, 0, 2 * RING_WORDS * size)
    this.#size = size
    this.#next = new Uint16Array(entries)
    this.#last = new Uint16Array(entries)
    this.#num = new Uint16Array(entries)
    this.#batch = new Uint16Array(entries)
    this.heads = new Int32Array(entries)
  }

  /**
   * Makes a fresh region ready, or goes on where the last user of the region stopped: then used descriptors that were
   * written to the ring and not published are taken back.
   *
   * @param base where the front end says the ring is (SET_VRING_BASE). Only a fresh region needs it: the next
   *   available position, with nothing in flight
   * @returns how many of `heads` have to be served again, or INFLIGHT_UNUSABLE: a region that makes no sense
   */
  start(base: number): number {
    this.#batchCount = 0
    this.#batchDescriptors = 0
    const version = Atomics.load(this.#halves, VERSION / 2)
    if (version === 0) return this.#initialise(base & 0xffff)
    if (version !== INFLIGHT_VERSION || this.#halves[DESC_NUM / 2] !== this.#region.entries) return INFLIGHT_UNUSABLE
    return this.#recover()
  }

  /** After `start`: where the ring stands, for PackedVirtqueue. */
  get base(): number {
    return this.#base
  }

  #initialise(position: number): number {
    if ((position & 0x7fff) >= this.#size) return INFLIGHT_UNUSABLE
    const entries = this.#region.entries
    this.#region.initialise(position)
    for (let i = 0; i < entries; i++) this.#next[i] = i + 1
    this.#free = 0
    this.#freeCount = entries
    this.#used = position
    this.#base = position + position * 2 ** 16
    return 0
  }

  #recover(): number {
    const remains = readPackedRemains(this.#region, this.#ringHalves, this.#size)
    if (remains === undefined) return INFLIGHT_UNUSABLE
    settlePackedRemains(this.#region, this.#ringHalves, this.#size, remains)
    const { heads, held } = remains
    this.#next = remains.next
    this.#last = remains.last
    this.#num = remains.num
    this.#free = remains.stand.free
    this.#freeCount = remains.free
    this.#used = remains.stand.used
    this.#base = packedAdvance(this.#used, held, this.#size) + this.#used * 2 ** 16
    this.heads.set(heads)
    this.#counter.resume(this.#words, (DESC + COUNTER) / 4, WORDS, this.heads, heads.length)
    return heads.length
  }

  /**
   * The descriptors of a chain in `heads`, in the form that they have in a ring, from the first one of `into` on, which
   * has room for as many as the ring. PackedChain walks and checks them there.
   *
   * @returns what stands for the chain in PackedVirtqueue.push
   */
  restore(head: number, into: Int32Array): number {
    const words = this.#words
    const count = this.#num[head]!
    let entry = head
    let id = 0
    for (let i = 0; i < count; i++) {
      const from = FIRST + WORDS * entry
      const to = RING_WORDS * i
      const idFlags = words[from + ID_FLAGS]!
      into[to] = words[from + ADDRESS]!
      into[to + 1] = words[from + ADDRESS + 1]!
      into[to + RING_LENGTH] = words[from + LENGTH]!
      // As many as the ring was advanced by, whatever the memory says now.
      into[to + RING_ID_FLAGS] = i + 1 < count ? idFlags | F_NEXT : idFlags & ~F_NEXT
      id = idFlags & 0xffff
      entry = this.#next[entry]!
    }
    return packedBuffer(id, count)
  }

  /**
   * Notes that a chain was fetched.
   *
   * @param index where it begins in the ring @param buffer what stands for it in PackedVirtqueue.advance
   * @returns its number for `complete`, or -1 if there is no room, for more than a ring is in flight
   */
  fetch(index: number, buffer: number): number {
    const count = buffer >>> 16
    if (count > this.#freeCount) return -1
    const words = this.#words
    const ring = this.#ring
    const head = this.#free
    let last = head
    let entry = head
    let slot = index
    for (let i = 0; i < count; i++) {
      const to = FIRST + WORDS * entry
      const from = RING_WORDS * slot
      words[to + ID_FLAGS] = ring[from + RING_ID_FLAGS]!
      words[to + LENGTH] = ring[from + RING_LENGTH]!
      words[to + ADDRESS] = ring[from]!
      words[to + ADDRESS + 1] = ring[from + 1]!
      last = entry
      entry = this.#next[entry]!
      if (++slot === this.#size) slot = 0
    }
    words[FIRST + WORDS * head + LAST_NUM] = last | (count << 16)
    this.#counter.stamp(words, FIRST + WORDS * head + COUNTER / 4)
    this.#bytes[DESC + SIZE * head + INFLIGHT] = 1
    this.#last[head] = last
    this.#num[head] = count
    this.#free = entry
    this.#freeCount -= count
    this.#fetched = true
    this.#region.storeFree(entry, entry)
    return head
  }

  /** Adds a chain, by its number, to the batch that is published next. To be followed by PackedVirtqueue.push. */
  complete(head: number): void {
    if (this.#fetched) {
      this.#fetched = false
      this.#region.fence()
    }
    this.#batch[this.#batchCount++] = head
    this.#batchDescriptors += this.#num[head]!
  }

  /** Frees the entries of the batch, for the case that it gets published. To be followed by PackedVirtqueue.publish. */
  beforePublish(): void {
    const count = this.#batchCount
    if (count === 0) return
    const halves = this.#halves
    const old = this.#free
    let free = old
    for (let i = 0; i < count; i++) {
      const head = this.#batch[i]!
      const last = this.#last[head]!
      this.#next[last] = free
      halves[(DESC + SIZE * last + NEXT) / 2] = free
      free = head
    }
    this.#free = free
    this.#region.storeFree(free, old)
    const used = packedAdvance(this.#used, this.#batchDescriptors, this.#size)
    this.#region.storeUsed(used, this.#used)
    this.#used = used
  }

  /** Forgets the batch, which the driver can see now. */
  afterPublish(): void {
    const count = this.#batchCount
    if (count === 0) return
    const bytes = this.#bytes
    for (let i = 0; i < count; i++) bytes[DESC + SIZE * this.#batch[i]! + INFLIGHT] = 0
    this.#freeCount += this.#batchDescriptors
    this.#batchCount = 0
    this.#batchDescriptors = 0
    this.#region.storeFree(this.#free, this.#free)
    this.#region.fence()
    this.#region.storeUsed(this.#used, this.#used)
  }
}
