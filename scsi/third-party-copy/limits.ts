/**
 * What an EXTENDED COPY(LID1) may ask for; RECEIVE COPY OPERATING PARAMETERS and the Third-party Copy page tell it, the
 * parser enforces it.
 */
export const COPY_LIMITS = {
  /** MAXIMUM CSCD DESCRIPTOR COUNT. */
  CSCD_DESCRIPTORS: 16,
  /** MAXIMUM SEGMENT DESCRIPTOR COUNT. */
  SEGMENT_DESCRIPTORS: 16,
  /** MAXIMUM DESCRIPTOR LIST LENGTH: room for as many of both as there may be, bytes. */
  DESCRIPTOR_LIST_BYTES: 16 * 32 + 16 * 28,
  /** MAXIMUM SEGMENT LENGTH, bytes: no fewer than the 65,535 blocks of 4096 bytes that a segment can ask for. */
  SEGMENT_BYTES: 2 ** 28,
  /** MAXIMUM INLINE DATA LENGTH: no segment descriptor that takes any is there. */
  INLINE_BYTES: 0,
  /** TOTAL CONCURRENT COPIES of a logical unit: what there is more of waits for its turn. */
  CONCURRENT: 255,
  /** DATA SEGMENT GRANULARITY, log2 of bytes. */
  GRANULARITY: 9,
} as const

/** Descriptor type codes that are there (SPC-4 6.4.3.5). */
export const DESCRIPTOR_TYPE = {
  /** Segment: block device to block device. */
  BLOCK_TO_BLOCK: 0x02,
  /** CSCD: a designation descriptor of the Device Identification page. */
  IDENTIFICATION: 0xe4,
} as const
