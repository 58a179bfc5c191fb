import {
  createHugeMemfd,
  createMemfd,
  F_SEAL_GROW,
  F_SEAL_SEAL,
  F_SEAL_SHRINK,
  MAX_VIEW,
  Mapping,
  raw,
} from 'memfd-mmap'
import { DriverMemory, type DriverRegion } from 'vhost-user-protocol-ts'
import { HUGE_PAGE } from '../huge-pages.js'

const PAGE = 4096

export interface RegionOptions {
  readonly guestAddress: number
  /** Bytes, a multiple of the page size. */
  readonly size: number
  /** Offset of the region in its memfd. Default 0. */
  readonly mmapOffset?: number
  /** What the front end says its own address is. Default: where this process really has it mapped, as QEMU does. */
  readonly userAddress?: number
  /** Seal the memfd against shrinking, as QEMU does. Default true. */
  readonly sealed?: boolean
  /** In huge pages of 2 MiB; the region may begin and end within one. */
  readonly huge?: boolean
}

/** One region: its numbers, the memfd to hand over, and this process's mapping of it. */
export class SharedRegion implements DriverRegion {
  readonly guestAddress: number
  readonly size: number
  readonly userAddress: number
  readonly mmapOffset: number
  readonly fd: number
  readonly mapping: Mapping
  readonly buffer: ArrayBuffer
  /** Where it begins in its mapping. */
  readonly skipped: number

  constructor(o: RegionOptions) {
    this.guestAddress = o.guestAddress
    this.size = o.size
    this.mmapOffset = o.mmapOffset ?? 0
    const seals = o.sealed === false ? 0 : F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL
    const end = this.mmapOffset + o.size
    this.fd =
      o.huge === true
        ? createHugeMemfd('guest-ram', Math.ceil(end / HUGE_PAGE) * HUGE_PAGE, seals)
        : createMemfd('guest-ram', end, seals)
    const skipped = this.mmapOffset % (o.huge === true ? HUGE_PAGE : PAGE)
    this.mapping = Mapping.map({ fd: this.fd, offset: this.mmapOffset - skipped, length: skipped + o.size })
    this.skipped = skipped
    this.userAddress = o.userAddress ?? this.mapping.address + skipped
    this.buffer = this.mapping.view(skipped, Math.min(o.size, MAX_VIEW))
  }
}

/** Guest memory over memfds, sparse until touched. */
export class SharedMemory extends DriverMemory {
  declare readonly regions: readonly SharedRegion[]
  #closed = false

  constructor(regions: readonly RegionOptions[]) {
    super(regions.map((o) => new SharedRegion(o)))
  }

  /** Like DriverMemory's, but anywhere in a region, however large. */
  override bytes(address: number, length: number): Uint8Array {
    for (const r of this.regions) {
      const at = address - r.guestAddress
      if (at >= 0 && at + length <= r.size && at + length > r.buffer.byteLength) {
        return new Uint8Array(r.mapping.view(r.skipped + at, length))
      }
    }
    return super.bytes(address, length)
  }

  /**
   * Closes the memfds and lets go of the pages. The addresses stay mapped, to zeros: views that a test still holds do
   * no harm, and the process is short-lived.
   */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    for (const r of this.regions) {
      raw.close(r.fd)
      r.mapping.retire()
    }
  }
}
