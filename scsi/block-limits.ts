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
} as const
