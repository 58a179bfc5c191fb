import { RefusedError } from './errors.js'
import type { MemoryRegion } from './messages/memory.js'
import { U64_LIMIT } from './u64.js'

const hex = (value: number): string => `0x${value.toString(16)}`

const describe = (region: MemoryRegion): string =>
  `guest ${hex(region.guestAddress)}, user ${hex(region.userAddress)}, ${region.size} bytes at ${region.mmapOffset}`

const overlaps = (a: number, aSize: number, b: number, bSize: number): boolean => a < b + bSize && b < a + aSize

/** A single region in itself. @throws {RefusedError} VUS_REGION_EMPTY, VUS_REGION_OVERFLOW */
export function checkRegion(region: MemoryRegion): void {
  if (region.size === 0) throw new RefusedError('VUS_REGION_EMPTY', describe(region))
  for (const start of [region.guestAddress, region.userAddress, region.mmapOffset]) {
    // Not start + size: that would be rounded.
    if (region.size > U64_LIMIT - start) throw new RefusedError('VUS_REGION_OVERFLOW', describe(region))
  }
}

/** Two regions of one table. @throws {RefusedError} VUS_REGION_OVERLAP (vhost-user.rst "Memory region description") */
export function checkPair(a: MemoryRegion, b: MemoryRegion): void {
  if (
    overlaps(a.guestAddress, a.size, b.guestAddress, b.size) ||
    overlaps(a.userAddress, a.size, b.userAddress, b.size)
  ) {
    throw new RefusedError('VUS_REGION_OVERLAP', `${describe(a)}; ${describe(b)}`)
  }
}

/** The regions that a front end has announced. Only checks and remembers: mapping them is the device's part. */
export class MemoryTable {
  readonly #slots: number
  #regions: MemoryRegion[] = []

  /** @param slots most regions at one time */
  constructor(slots: number) {
    this.#slots = slots
  }

  get regions(): readonly MemoryRegion[] {
    return this.#regions
  }

  /** @throws {RefusedError} when these regions can't be a table */
  checkAll(regions: readonly MemoryRegion[]): void {
    regions.forEach((region, i) => {
      checkRegion(region)
      for (let j = 0; j < i; j++) checkPair(regions[j]!, region)
    })
  }

  /** @throws {RefusedError} when the region can't be added to the table */
  checkAdd(region: MemoryRegion): void {
    if (this.#regions.length >= this.#slots) throw new RefusedError('VUS_TOO_MANY_REGIONS', `${this.#slots} slots`)
    checkRegion(region)
    for (const other of this.#regions) checkPair(other, region)
  }

  /**
   * The region that a REM_MEM_REG means: same guest address, user address and size, the offset is not compared.
   * @throws {RefusedError} VUS_UNKNOWN_REGION
   */
  find(region: MemoryRegion): MemoryRegion {
    const found = this.#regions.find(
      (other) =>
        other.guestAddress === region.guestAddress &&
        other.userAddress === region.userAddress &&
        other.size === region.size,
    )
    if (found === undefined) throw new RefusedError('VUS_UNKNOWN_REGION', describe(region))
    return found
  }

  replace(regions: readonly MemoryRegion[]): void {
    this.#regions = [...regions]
  }

  add(region: MemoryRegion): void {
    this.#regions.push(region)
  }

  remove(region: MemoryRegion): void {
    this.#regions = this.#regions.filter((other) => other !== region)
  }
}
