import { Mapping } from 'memfd-mmap'
import { Request } from './request.js'

/** Data segments that a request may have, whatever the driver was told (UIO_MAXIOV, the kernel's limit for one readv). */
export const MAX_SEGMENTS = 1024

/** Requests of one queue that are worked on at once, whatever the size of the ring. */
const MAX_REQUESTS = 1024

/** Bytes of struct iovec: a 64-bit address, a 64-bit length. */
const IOVEC = 16
/** A cache line more than 1,024 iovecs, so that the first ones of all requests do not fall into one set of the cache. */
const STRIDE = MAX_SEGMENTS * IOVEC + 64

/** The low bits of a request's id are its slot; the high ones name the queue in its IOThread. */
export const SLOT_BITS = 16
export const SLOT_MASK = (1 << SLOT_BITS) - 1

/**
 * The preallocated requests of one queue. Their iovecs lie in untouched zero pages until a request needs them, so a
 * table costs what its longest requests used, not what they may use.
 */
export class RequestTable {
  readonly requests: Request[]
  /** All requests' iovecs: four words each (address low, high, length low, high). */
  readonly words: Uint32Array
  readonly #memory: Mapping
  readonly #free: Int32Array
  #freeCount: number

  /** @param queueSlot the queue's number in its IOThread @param size the ring's size */
  constructor(queueSlot: number, size: number) {
    const count = Math.min(size, MAX_REQUESTS)
    this.#memory = Mapping.anonymous(count * STRIDE)
    this.words = new Uint32Array(this.#memory.view())
    const cdbs = new ArrayBuffer(count * 32)
    this.requests = []
    this.#free = new Int32Array(count)
    this.#freeCount = count
    for (let slot = 0; slot < count; slot++) {
      const at = slot * STRIDE
      const id = (queueSlot << SLOT_BITS) | slot
      this.requests.push(new Request(id, slot, cdbs, at / 4, this.#memory.address + at))
      this.#free[count - 1 - slot] = slot
    }
  }

  get busy(): number {
    return this.requests.length - this.#freeCount
  }

  get free(): number {
    return this.#freeCount
  }

  /** A free request (the one freed last, whose memory is warm), or null. */
  take(): Request | null {
    if (this.#freeCount === 0) return null
    const request = this.requests[this.#free[--this.#freeCount]!]!
    request.active = true
    return request
  }

  give(request: Request): void {
    request.active = false
    this.#free[this.#freeCount++] = request.slot
  }

  /** Releases the iovec memory. No request is busy. */
  release(): void {
    this.#memory.unmap()
  }
}
