const SUB_BITS = 5
const SUB = 1 << SUB_BITS

/** Latencies in nanoseconds (up to 2^31), in buckets of 1/32 of their size. Recording allocates nothing. */
export class Histogram {
  readonly buckets: Uint32Array

  /** Over buckets that came from another thread or process, or new ones. */
  constructor(buckets: ArrayLike<number> = { length: 0 }) {
    this.buckets = new Uint32Array(SUB * 32)
    for (let i = 0; i < buckets.length; i++) this.buckets[i] = buckets[i]!
  }

  record(ns: number): void {
    const value = ns < 0 ? 0 : ns > 0x7fff_ffff ? 0x7fff_ffff : ns | 0
    const shift = value < SUB ? 0 : 31 - Math.clz32(value) - SUB_BITS
    const index = value < SUB ? value : SUB * (shift + 1) + ((value >>> shift) - SUB)
    this.buckets[index] = this.buckets[index]! + 1
  }

  add(other: Histogram): void {
    for (let i = 0; i < this.buckets.length; i++) this.buckets[i] = this.buckets[i]! + other.buckets[i]!
  }

  get count(): number {
    return this.buckets.reduce((sum, n) => sum + n, 0)
  }

  /** The value at a fraction of 0..1, in nanoseconds: the middle of its bucket. NaN when nothing was recorded. */
  quantile(fraction: number): number {
    const count = this.count
    if (count === 0) return Number.NaN
    const rank = Math.max(1, Math.ceil(fraction * count))
    let seen = 0
    let i = 0
    while (seen + this.buckets[i]! < rank) seen += this.buckets[i++]!
    if (i < SUB) return i
    const shift = Math.floor(i / SUB) - 1
    return (SUB + (i % SUB)) * 2 ** shift + (2 ** shift - 1) / 2
  }
}
