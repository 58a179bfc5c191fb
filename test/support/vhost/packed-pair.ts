import { Mapping } from 'memfd-mmap'
import {
  PACKED_BASE_NEW,
  PACKED_EVENT,
  PackedDriver,
  PackedVirtqueue,
  packedRingBytes,
  packedRingLayout,
} from 'vhost-user-protocol-ts'

export interface PackedPairOptions {
  readonly size: number
  readonly eventIdx: boolean
  readonly indirectEntries?: number
}

/** Guest-physical address of the ring's first byte. */
export const PAIR_ADDRESS = 0x10_0000

/** A packed ring in memory of its own, with the driver's side of it; the device's side is made when it is wanted. */
export class PackedPair {
  readonly mapping: Mapping
  readonly driver: PackedDriver
  readonly #o: PackedPairOptions

  constructor(o: PackedPairOptions) {
    this.#o = o
    this.mapping = Mapping.anonymous(packedRingLayout(o.size, o.indirectEntries).bytes)
    this.driver = new PackedDriver({ ...o, buffer: this.mapping.view(), byteOffset: 0, guestAddress: PAIR_ADDRESS })
  }

  device(base: number = PACKED_BASE_NEW): PackedVirtqueue {
    const { size, eventIdx } = this.#o
    const { layout } = this.driver
    return new PackedVirtqueue({
      size,
      desc: this.mapping.view(layout.desc, packedRingBytes(size)),
      driverEvent: this.mapping.view(layout.driverEvent, PACKED_EVENT.SIZE),
      deviceEvent: this.mapping.view(layout.deviceEvent, PACKED_EVENT.SIZE),
      base,
      eventIdx,
    })
  }

  close(): void {
    this.mapping.retire()
  }
}
