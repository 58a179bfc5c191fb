import { InflightCounter } from './inflight-counter.js'
import { INFLIGHT_UNUSABLE, INFLIGHT_VERSION, SPLIT_REGION, SPLIT_STATE } from './inflight-layout.js'

const { VERSION, DESC_NUM, LAST_BATCH_HEAD, USED_IDX, DESC } = SPLIT_REGION
const { INFLIGHT, NEXT, COUNTER, SIZE } = SPLIT_STATE

/**
 * Notes what is in flight in a split virtqueue, in memory that outlives this process (vhost-user.rst "Inflight I/O
 * tracking"). Besides `start`, which takes over what a predecessor left, everything only writes to the region: its
 * owner may change it at any time, and does harm to nobody else.
 *
 * How it is called: `start` before anything is fetched; the requests in `heads` are served again. `fetch` for each
 * head, in the order of the available ring and before the next one is fetched. `complete` right before
 * every SplitVirtqueue.push, whether of fetched or of restarted requests. Then `beforePublish`, SplitVirtqueue.publish,
 * `afterPublish`, in this order.
 *
 * Why a process may be killed between any two stores. A kill leaves a prefix of the machine's program order in memory;
 * what could still reorder is the compiler. Atomics.store is not passed by stores before it, Atomics.load not by
 * stores after it, and neither by the other.
 * - `fetch`: the flag is set after the counter. Before that the head is not in flight: the successor fetches it again,
 *   for it goes on at used.idx plus the number of flags. That is right only if the flags are those of the oldest
 *   fetched heads, hence an ordered store for each.
 * - `beforePublish`: the flags are all set still, so all of the batch would be served again, whatever the list says:
 *   used_idx equals used.idx, and the list is not looked at.
 * - SplitVirtqueue.publish stores used.idx: the driver has the batch. The successor sees used.idx differ from used_idx by
 *   n, and clears the first n flags in the list. It is complete, for the store comes after all of it.
 * - `afterPublish` clears the flags: after used.idx, because publish ends with a load. Any of them may be cleared
 *   already when the successor does it again. used_idx comes after all flags; then the list has no meaning any more,
 *   and last_batch_head is not stored again before that.
 */
export class SplitInflight {
  /** The heads that `start` found in flight, in the order they were fetched in. */
  readonly heads: Int32Array
  readonly #entries: number
  readonly #bytes: Uint8Array
  readonly #halves: Uint16Array
  readonly #words: Int32Array
  readonly #counter = new InflightCounter()
  /** The heads of the batch, and how many they are: more than there is room for only if a driver has used one twice. */
  readonly #batch: Uint16Array
  #count = 0
  /** last_batch_head and used_idx, as they are in the region. */
  #last = 0
  #usedIdx = 0
  #base = 0

  /** @param buffer the queue's region, from its first byte @param entries descriptors that it has room for */
  constructor(buffer: ArrayBufferLike, entries: number) {
    const length = DESC + SIZE * entries
    this.#entries = entries
    this.#bytes = new Uint8Array(buffer, 0, length)
    this.#halves = new Uint16Array(buffer, 0, length / 2)
    this.#words = new Int32Array(buffer, 0, length / 4)
    this.#batch = new Uint16Array(entries)
    this.heads = new Int32Array(entries)
  }

  /**
   * Makes a fresh region ready, or goes on where the last user of the region stopped.
   *
   * @param usedIdx used.idx as it is in the used ring
   * @param base the next available index as the front end says it (SET_VRING_BASE). Only a fresh region needs it
   * @returns how many of `heads` have to be served again, or INFLIGHT_UNUSABLE: no region of this version and size
   */
  start(usedIdx: number, base = usedIdx): number {
    this.#base = base
    this.#count = 0
    this.#last = 0
    this.#usedIdx = usedIdx
    const version = Atomics.load(this.#halves, VERSION / 2)
    if (version === 0) {
      this.#initialise()
      return 0
    }
    if (version !== INFLIGHT_VERSION || this.#halves[DESC_NUM / 2]! < this.#entries) return INFLIGHT_UNUSABLE
    return this.#recover()
  }

  /** After `start`: the next available index to fetch, for SplitVirtqueue. */
  get base(): number {
    return this.#base
  }

  /** The version comes last: half an initialisation is none. */
  #initialise(): void {
    const halves = this.#halves
    this.#bytes.fill(0)
    halves[DESC_NUM / 2] = this.#entries
    // Not left 0: the first recovery would take everything used so far for the last batch.
    halves[USED_IDX / 2] = this.#usedIdx
    Atomics.store(halves, VERSION / 2, INFLIGHT_VERSION)
  }

  #recover(): number {
    const bytes = this.#bytes
    const halves = this.#halves
    const entries = this.#entries
    const batch = (this.#usedIdx - halves[USED_IDX / 2]!) & 0xffff
    // A batch is no larger than the ring. Otherwise the ring is another one than that of the region, and starts anew.
    if (batch <= entries) {
      let head = halves[LAST_BATCH_HEAD / 2]!
      for (let i = 0; i < batch && head < entries; i++) {
        bytes[DESC + SIZE * head + INFLIGHT] = 0
        head = halves[(DESC + SIZE * head + NEXT) / 2]!
      }
    }
    Atomics.store(halves, USED_IDX / 2, this.#usedIdx)
    let count = 0
    for (let head = 0; head < entries; head++) {
      if (bytes[DESC + SIZE * head + INFLIGHT] === 1) this.heads[count++] = head
    }
    // Everything fetched is either used or in flight.
    this.#base = (this.#usedIdx + count) & 0xffff
    this.#counter.resume(this.#words, (DESC + COUNTER) / 4, SIZE / 4, this.heads, count)
    return count
  }

  /** Notes that a head was fetched; one that does not exist is passed over. Answers the head, for `complete`. */
  fetch(head: number): number {
    if (head >= this.#entries) return head
    const at = DESC + SIZE * head
    this.#counter.stamp(this.#words, (at + COUNTER) / 4)
    Atomics.store(this.#bytes, at + INFLIGHT, 1)
    return head
  }

  /** Adds a head to the batch that is published next. */
  complete(head: number): void {
    const count = this.#count++
    if (count < this.#entries) this.#batch[count] = head
  }

  /** Writes the list of the batch. To be followed by SplitVirtqueue.publish. */
  beforePublish(): void {
    if (this.#count === 0) return
    const halves = this.#halves
    const batch = this.#batch
    const listed = Math.min(this.#count, this.#entries)
    let last = this.#last
    for (let i = 0; i < listed; i++) {
      const head = batch[i]!
      if (head >= this.#entries) continue
      halves[(DESC + SIZE * head + NEXT) / 2] = last
      last = head
    }
    this.#last = last
    Atomics.store(halves, LAST_BATCH_HEAD / 2, last)
  }

  /** Forgets the batch, which the driver can see now. */
  afterPublish(): void {
    const count = this.#count
    if (count === 0) return
    const bytes = this.#bytes
    const batch = this.#batch
    const listed = Math.min(count, this.#entries)
    this.#count = 0
    this.#usedIdx = (this.#usedIdx + count) & 0xffff
    for (let i = 0; i < listed; i++) {
      const head = batch[i]!
      if (head < this.#entries) bytes[DESC + SIZE * head + INFLIGHT] = 0
    }
    Atomics.store(this.#halves, USED_IDX / 2, this.#usedIdx)
  }
}
