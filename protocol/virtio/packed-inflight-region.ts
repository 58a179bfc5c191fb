import { INFLIGHT_VERSION, PACKED_REGION, PACKED_STATE } from './inflight-layout.js'
import { packedPosition } from './packed-ring-layout.js'

/** A position in the packed ring and a head of the free list: what one step of the protocol changes together. */
export interface PackedStand {
  /** Next descriptor to use, as a position of 16 bits (packedPosition). */
  readonly used: number
  /** First entry of the free list; `entries` or more: none is free. */
  readonly free: number
}

const { DESC } = PACKED_REGION
const { SIZE } = PACKED_STATE

/** One queue's region of the inflight buffer of packed rings, and the two stores that have to be one each. */
export class PackedInflightRegion {
  readonly entries: number
  readonly bytes: Uint8Array
  readonly halves: Uint16Array
  readonly words: Int32Array
  readonly #doubles: Float64Array
  readonly #image = new Float64Array(1)
  readonly #imageBytes = new Uint8Array(this.#image.buffer)
  readonly #imageHalves = new Uint16Array(this.#image.buffer)

  /** @param buffer the region from its first byte, which lies on a multiple of 8 @param entries that it has room for */
  constructor(buffer: ArrayBufferLike, entries: number) {
    const length = DESC + SIZE * entries
    this.entries = entries
    this.bytes = new Uint8Array(buffer, 0, length)
    this.halves = new Uint16Array(buffer, 0, length / 2)
    this.words = new Int32Array(buffer, 0, length / 4)
    this.#doubles = new Float64Array(buffer, 0, DESC / 8)
  }

  /** Makes it a region with nothing in flight. The version comes last: half an initialisation is none. */
  initialise(used: number): void {
    const { halves, entries } = this
    this.bytes.fill(0)
    for (let i = 0; i < entries; i++) halves[(DESC + SIZE * i + PACKED_STATE.NEXT) / 2] = i + 1
    halves[PACKED_REGION.DESC_NUM / 2] = entries
    this.storeUsed(used, used)
    Atomics.store(halves, PACKED_REGION.VERSION / 2, INFLIGHT_VERSION)
  }

  /** free_head and old_free_head in one store, ordered after all stores before it. */
  storeFree(free: number, old: number): void {
    Atomics.store(this.words, PACKED_REGION.FREE_HEAD / 4, free | (old << 16))
  }

  /**
   * used_idx, old_used_idx and both wrap counters. One store, though the specification has four: killed between an
   * index and its wrap counter, the successor could not tell which lap the ring is in. It goes as a double, which moves
   * eight bytes and makes no BigInt. The padding is its exponent: zeros, so any value is a subnormal number, and stays as it is.
   */
  storeUsed(used: number, old: number): void {
    const { USED_IDX, OLD_USED_IDX, USED_WRAP_COUNTER, OLD_USED_WRAP_COUNTER } = PACKED_REGION
    this.#imageHalves[0] = used & 0x7fff
    this.#imageHalves[(OLD_USED_IDX - USED_IDX) / 2] = old & 0x7fff
    this.#imageBytes[USED_WRAP_COUNTER - USED_IDX] = used >>> 15
    this.#imageBytes[OLD_USED_WRAP_COUNTER - USED_IDX] = old >>> 15
    this.#doubles[USED_IDX / 8] = this.#image[0]!
  }

  /** Keeps stores after it from moving before what was stored atomically. */
  fence(): void {
    Atomics.load(this.words, PACKED_REGION.FREE_HEAD / 4)
  }

  /** What the last batch would make of the region, and what was before it; undefined if there is no such place. */
  stands(size: number): { current: PackedStand; old: PackedStand } | undefined {
    const { halves, bytes } = this
    const at = (index: number, wrap: number): number => {
      const place = halves[index / 2]!
      const lap = bytes[wrap]!
      return place < size && lap < 2 ? packedPosition(place, lap) : -1
    }
    const used = at(PACKED_REGION.USED_IDX, PACKED_REGION.USED_WRAP_COUNTER)
    const oldUsed = at(PACKED_REGION.OLD_USED_IDX, PACKED_REGION.OLD_USED_WRAP_COUNTER)
    if (used < 0 || oldUsed < 0) return undefined
    return {
      current: { used, free: halves[PACKED_REGION.FREE_HEAD / 2]! },
      old: { used: oldUsed, free: halves[PACKED_REGION.OLD_FREE_HEAD / 2]! },
    }
  }
}
