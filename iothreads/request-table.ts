import { Mapping } from 'memfd-mmap'
import { Request } from './request.js'

/** Data segments that a request may have, whatever the driver was told (UIO_MAXIOV, the kernel's limit for one readv). */
export const MAX_SEGMENTS = 1024

/** Requests of one queue that are worked on at once, whatever the size of the ring. */
const MAX_REQUESTS = 1024

/** Bytes of a segment, and of struct iovec: a 64-bit address, a 64-bit length. */
const SEGMENT = 16
/** A cache line more than 1,024 segments, so that the first ones of all requests do not fall into one set of the cache. */
const STRIDE = MAX_SEGMENTS * SEGMENT + 64

/** The low bits of a request's id are its slot; the high ones name the queue in its IOThread. */
export const SLOT_BITS = 16
export const SLOT_MASK = (1 << SLOT_BITS) - 1
/** What stands for a queue in the ids of requests that are no queue's (MediumJobs). */
export const JOB_SLOT = 0x7fff

/**
 * The preallocated requests of one queue. Their segments lie in untouched zero pages until a request needs them, so a
 * table costs what its longest requests used, not what they may use.
 */
export class RequestTable {
  readonly requests: Request[]
  /** All requests' data segments, two numbers each: host address and bytes. */
  readonly segments: Float64Array
  /** All requests' struct iovecs, four words each, filled only for I/O that takes several. */
  readonly iovecs: Uint32Array
  readonly #memory: Mapping
  readonly #free: Int32Array
  #freeCount: number

  /** @param queueSlot the queue's number in its IOThread @param size the ring's size */
  constructor(queueSlot: number, size: number) {
    const count = Math.min(size, MAX_REQUESTS)
    this.#memory = Mapping.anonymous(2 * count * STRIDE)
    this.segments = new Float64Array(this.#memory.view(0, count * STRIDE))
    this.iovecs = new Uint32Array(this.#memory.view(count * STRIDE))
    const cdbs = new ArrayBuffer(count * 32)
    this.requests = []
    this.#free = new Int32Array(count)
    this.#freeCount = count
    for (let slot = 0; slot < count; slot++) {
      const at = slot * STRIDE
      const id = (queueSlot << SLOT_BITS) | slot
      this.requests.push(new Request(id, slot, cdbs, at / 8, at / 4, this.#memory.address + count * STRIDE + at))
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

  /** Releases the segments' memory. No request is busy. */
  release(): void {
    this.#memory.unmap()
  }
}
