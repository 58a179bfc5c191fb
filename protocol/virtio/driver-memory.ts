/** One region of guest memory as its owner, the driver's side, sees it. */
export interface DriverRegion {
  /** Guest-physical address, bytes, and the address that the front end uses for it in SET_VRING_ADDR. */
  readonly guestAddress: number
  readonly size: number
  readonly userAddress: number
  /** Offset in the region's file. */
  readonly mmapOffset: number
  /** The memory itself, or as much of its start as one ArrayBuffer can show. */
  readonly buffer: ArrayBufferLike
}

/** A piece of guest memory: `buffer` from `byteOffset` on is what the guest has at `address`. */
export interface DriverAllocation {
  readonly address: number
  readonly length: number
  readonly buffer: ArrayBufferLike
  readonly byteOffset: number
}

/** Guest memory from the inside: hands out pieces of its regions, never takes them back, and translates addresses. */
export class DriverMemory {
  readonly regions: readonly DriverRegion[]
  readonly #used: number[]

  constructor(regions: readonly DriverRegion[]) {
    this.regions = regions
    this.#used = regions.map(() => 0)
  }

  /** Takes `length` bytes (zero or not, as they are) from a region. RangeError when it is full. */
  allocate(length: number, alignment = 16, region = 0): DriverAllocation {
    const r = this.regions[region]
    if (r === undefined) throw new RangeError(`no region ${region}`)
    const byteOffset = Math.ceil(this.#used[region]! / alignment) * alignment
    if (byteOffset + length > r.buffer.byteLength) {
      throw new RangeError(`region ${region} has no ${length} bytes left of ${r.buffer.byteLength}`)
    }
    this.#used[region] = byteOffset + length
    return { address: r.guestAddress + byteOffset, length, buffer: r.buffer, byteOffset }
  }

  /** Bytes handed out of a region so far; `release` to the same mark gives back everything that came after. */
  mark(region = 0): number {
    return this.#used[region] ?? 0
  }

  release(mark: number, region = 0): void {
    if (!(mark >= 0 && mark <= (this.#used[region] ?? -1))) throw new RangeError(`mark ${mark} was never reached`)
    this.#used[region] = mark
  }

  /** The bytes at a guest-physical address. RangeError outside the regions, or across the end of one. */
  bytes(address: number, length: number): Uint8Array {
    const r = this.#find(address, length)
    return new Uint8Array(r.buffer, address - r.guestAddress, length)
  }

  /** The user address of guest-physical memory: what ring addresses in SET_VRING_ADDR are (vhost-user.rst). */
  userAddress(address: number, length = 1): number {
    const r = this.#find(address, length)
    return r.userAddress + (address - r.guestAddress)
  }

  #find(address: number, length: number): DriverRegion {
    for (const r of this.regions) {
      const start = address - r.guestAddress
      if (start >= 0 && start + length <= r.size) return r
    }
    throw new RangeError(`no region holds ${length} bytes at guest address 0x${address.toString(16)}`)
  }
}
