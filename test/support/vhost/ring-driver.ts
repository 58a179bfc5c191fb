import {
  type ChainSegment,
  type ChainStyle,
  PACKED_DESC_F,
  PackedDriver,
  type PackedDriverOptions,
  packedRingLayout,
  SplitDriver,
  settledPackedBase,
  splitRingLayout,
} from 'vhost-user-protocol-ts'

const { NEXT, INDIRECT, AVAIL, USED } = PACKED_DESC_F

/** The driver's side of a ring of either kind. */
export type RingDriver = SplitDriver | PackedDriver

export function ringBytes(packed: boolean, size: number, indirectEntries: number): number {
  return (packed ? packedRingLayout : splitRingLayout)(size, indirectEntries).bytes
}

export function createRing(packed: boolean, options: PackedDriverOptions): RingDriver {
  return packed ? new PackedDriver(options) : new SplitDriver(options)
}

/** Describes a chain. A packed ring has none of direct and indirect descriptors: such a one is indirect there. */
export function prepareChain(driver: RingDriver, segments: readonly ChainSegment[], style?: ChainStyle): number {
  if (driver instanceof SplitDriver) return driver.prepare(segments, style)
  return driver.prepare(segments, style === 'mixed' ? 'indirect' : style)
}

/** Puts a chain into the ring. */
export function addChain(driver: RingDriver, segments: readonly ChainSegment[], style?: ChainStyle): number {
  const head = prepareChain(driver, segments, style)
  driver.submit(head)
  return head
}

/** For what only split rings have. */
export function splitDriver(driver: RingDriver): SplitDriver {
  if (driver instanceof SplitDriver) return driver
  throw new TypeError('a packed ring')
}

/** Where the device stands when it has completed all that was published: what GET_VRING_BASE answers then. */
export function restingBase(driver: RingDriver): number {
  return driver.packed ? settledPackedBase(driver.availIndex) : driver.availIndex
}

/** Whether the device, which stopped at `base`, has completed all that it fetched; the rest may be in the ring still. */
export function isSettled(driver: RingDriver, base: number): boolean {
  if (driver instanceof SplitDriver) return base === driver.deviceUsedIndex
  return (base & 0xffff) === base >>> 16
}

/** Writes a descriptor of a packed ring, with these flags, as the driver's `i`-th one after the last one that was submitted. */
export function writeNext(ring: PackedDriver, i: number, address: number, length: number, flags: number): void {
  const { size, availIndex } = ring
  const index = (availIndex & 0x7fff) + i
  const wrap = (availIndex >>> 15) ^ (index < size ? 0 : 1)
  ring.writeDescriptor(index % size, address, length, flags | (wrap === 1 ? AVAIL : USED), i)
}

/** Makes available what breaks the ring; the code that it breaks with. */
export function breakRing(driver: RingDriver): string {
  if (driver.packed) {
    writeNext(driver, 0, 0, 16, NEXT | INDIRECT)
    return 'VUS_RING_INDIRECT_AND_NEXT'
  }
  driver.publishRaw(driver.availIndex + driver.size + 1)
  return 'VUS_RING_AVAILABLE_INDEX'
}

/** For what only packed rings have. */
export function packedDriver(driver: RingDriver): PackedDriver {
  if (driver instanceof PackedDriver) return driver
  throw new TypeError('a split ring')
}
