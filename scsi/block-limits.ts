/**
 * What one command may ask for; the Block Limits page (SBC-3 6.6.4) tells it and the commands enforce it. There is no
 * limit on the transfer length: the transport's buffers are one.
 */
export const LIMITS = {
  /**
   * MAXIMUM UNMAP LBA COUNT: blocks in all descriptors of an UNMAP. 1 Mi keeps a command short, and conformance tests
   * hold it for the most that is sane.
   */
  UNMAP_BLOCKS: 0x100000,
  /** MAXIMUM UNMAP BLOCK DESCRIPTOR COUNT. */
  UNMAP_DESCRIPTORS: 256,
  /** MAXIMUM WRITE SAME LENGTH: blocks. */
  WRITE_SAME_BLOCKS: 0x100000,
  /** Bytes that a COMPARE AND WRITE compares: the transport has to hold twice as many (MAXIMUM COMPARE AND WRITE LENGTH). */
  COMPARE_BYTES: 0x20000,
  /** Bytes of a WRITE ATOMIC, for whose time all else has to wait (MAXIMUM ATOMIC TRANSFER LENGTH). */
  ATOMIC_BYTES: 0x100000,
} as const

/** NUMBER OF LOGICAL BLOCKS of COMPARE AND WRITE is a byte. */
const MOST_COMPARED = 0xff

/** MAXIMUM COMPARE AND WRITE LENGTH, in blocks. */
export function mostCompared(blockSize: number): number {
  return Math.min(MOST_COMPARED, LIMITS.COMPARE_BYTES / blockSize)
}

/** MAXIMUM ATOMIC TRANSFER LENGTH, in blocks. */
export function mostAtomic(blockSize: number): number {
  return LIMITS.ATOMIC_BYTES / blockSize
}
