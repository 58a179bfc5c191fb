import { LIMITS, mostAtomic, mostCompared } from '../block-limits.js'
import { putU64 } from '../bytes.js'
import { thresholdExponent } from '../space-threshold.js'
import { discardGranularity, type UnitConfig } from '../unit-config.js'

// Field offsets are those of the page; its header is cut off by whoever puts the page together.
const HEADER = 4

/** Block Limits (SBC-3 6.6.4). */
const BLOCK_LIMITS = {
  WSNZ: 4,
  MAXIMUM_COMPARE_AND_WRITE_LENGTH: 5,
  OPTIMAL_TRANSFER_LENGTH_GRANULARITY: 6,
  MAXIMUM_TRANSFER_LENGTH: 8,
  MAXIMUM_UNMAP_LBA_COUNT: 20,
  MAXIMUM_UNMAP_BLOCK_DESCRIPTOR_COUNT: 24,
  OPTIMAL_UNMAP_GRANULARITY: 28,
  UNMAP_GRANULARITY_ALIGNMENT: 32,
  MAXIMUM_WRITE_SAME_LENGTH: 36,
  MAXIMUM_ATOMIC_TRANSFER_LENGTH: 44,
  SIZE: 64,
} as const

/**
 * A limit that nothing meets, and that fits what initiators keep it in. To say that there is none (0) does not go together with a
 * limit for atomic writes: conformance tests want that to be the smaller one.
 */
const ANY_TRANSFER_LENGTH = 0x7fffffff

/** NUMBER OF LOGICAL BLOCKS 0 is no WRITE SAME to the end of the medium here. */
const WSNZ = 1
const UGAVALID = 0x80000000

/** Content of the Block Limits page: no limit on the transfer length. */
export function blockLimits(config: UnitConfig): Uint8Array {
  const page = new Uint8Array(BLOCK_LIMITS.SIZE)
  const view = new DataView(page.buffer)
  page[BLOCK_LIMITS.WSNZ] = WSNZ
  view.setUint16(BLOCK_LIMITS.OPTIMAL_TRANSFER_LENGTH_GRANULARITY, config.physicalBlockSize / config.blockSize)
  if (config.discard) {
    view.setUint32(BLOCK_LIMITS.MAXIMUM_UNMAP_LBA_COUNT, LIMITS.UNMAP_BLOCKS)
    view.setUint32(BLOCK_LIMITS.MAXIMUM_UNMAP_BLOCK_DESCRIPTOR_COUNT, LIMITS.UNMAP_DESCRIPTORS)
    view.setUint32(BLOCK_LIMITS.OPTIMAL_UNMAP_GRANULARITY, discardGranularity(config) / config.blockSize)
    view.setUint32(BLOCK_LIMITS.UNMAP_GRANULARITY_ALIGNMENT, UGAVALID)
  }
  putU64(view, BLOCK_LIMITS.MAXIMUM_WRITE_SAME_LENGTH, LIMITS.WRITE_SAME_BLOCKS)
  page[BLOCK_LIMITS.MAXIMUM_COMPARE_AND_WRITE_LENGTH] = mostCompared(config.blockSize)
  if (config.atomicWrites === true) {
    // Of any alignment, in any granularity; each command is one atomic write, so that the fields for several are 0.
    view.setUint32(BLOCK_LIMITS.MAXIMUM_TRANSFER_LENGTH, ANY_TRANSFER_LENGTH)
    view.setUint32(BLOCK_LIMITS.MAXIMUM_ATOMIC_TRANSFER_LENGTH, mostAtomic(config.blockSize))
  }
  return page.subarray(HEADER)
}

/** Block Device Characteristics (SBC-3 6.6.3). */
const CHARACTERISTICS = { MEDIUM_ROTATION_RATE: 4, FLAGS: 7, SIZE: 64 } as const
/** WABEREQ 01b: what SANITIZE, BLOCK ERASE has erased can be read. */
const READABLE_AFTER_BLOCK_ERASE = 0x40

export function blockDeviceCharacteristics(config: UnitConfig): Uint8Array {
  const page = new Uint8Array(CHARACTERISTICS.SIZE)
  new DataView(page.buffer).setUint16(CHARACTERISTICS.MEDIUM_ROTATION_RATE, config.rotationRate)
  if (config.discard) page[CHARACTERISTICS.FLAGS] = READABLE_AFTER_BLOCK_ERASE
  return page.subarray(HEADER)
}

/** Logical Block Provisioning (SBC-3 6.6.5). */
const PROVISIONING = { THRESHOLD_EXPONENT: 4, FLAGS: 5, TYPE: 6, SIZE: 8 } as const
const LBPU = 0x80
const LBPWS = 0x40
const LBPWS10 = 0x20
/** Unmapped blocks read as zeros. */
const LBPRZ = 0x04
const THIN_PROVISIONED = 2

/** Content of the Logical Block Provisioning page of a unit with discard. */
export function logicalBlockProvisioning(config: UnitConfig): Uint8Array {
  const page = new Uint8Array(PROVISIONING.SIZE)
  if (config.spaceThreshold !== undefined) page[PROVISIONING.THRESHOLD_EXPONENT] = thresholdExponent(config.blockSize)
  page[PROVISIONING.FLAGS] = LBPU | LBPWS | LBPWS10 | LBPRZ
  page[PROVISIONING.TYPE] = THIN_PROVISIONED
  return page.subarray(HEADER)
}
