import {
  type ChainSegment,
  type ChainStyle,
  PackedDriver,
  type PackedDriverOptions,
  packedRingLayout,
  SplitDriver,
  splitRingLayout,
} from 'vhost-user-protocol-ts'

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
