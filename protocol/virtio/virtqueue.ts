/** Where chains begin. */
export interface DescriptorRing {
  readonly packed: boolean
  /** Descriptors. */
  readonly size: number
  /** The descriptor table, or the descriptor ring. */
  readonly desc: DataView
}

/**
 * The device's side of a virtqueue of either kind, as SplitVirtqueue and PackedVirtqueue have it. A thread that serves
 * rings of one kind only sees one class behind it; with both, each call has two targets, which V8 still inlines.
 */
export interface Virtqueue extends DescriptorRing {
  readonly eventIdx: boolean
  /** Where the ring stands, as GET_VRING_BASE answers it; nothing is unpublished. */
  readonly base: number
  /** Whether something was pushed since the last `publish`. */
  readonly unpublished: boolean
  /** How many chains may be fetched now; -1: the ring is broken. A packed ring looks for no more than `most`. */
  available(most?: number): number
  /** Whether there may be something to fetch, for polling. */
  hasAvailable(): boolean
  /** Where the next chain begins, for `Chain.start`, which checks it. Only after `available` promised one. */
  fetch(): number
  /** Goes on behind the last fetched chain, which was walked to its end. Before anything else is fetched or pushed. */
  advance(buffer: number): void
  /** Puts the last fetched chain back. */
  unfetch(): void
  /** Gives a chain back with `length` bytes written to it; the driver sees it after `publish`. */
  push(buffer: number, length: number): void
  /** Shows what was pushed. True if the driver wants to be notified. */
  publish(): boolean
  /** Asks the driver for notifications. True: there is something to fetch already. */
  enableNotifications(): boolean
  disableNotifications(): void
}

/** A walk over one chain, as DescriptorChain and PackedChain do it. */
export interface Chain {
  /** The current buffer: guest physical address, in signed halves and as one Number; bytes; whether the device writes it. */
  readonly addressLow: number
  readonly addressHigh: number
  readonly address: number
  readonly length: number
  readonly writable: boolean
  /** After the end: what stands for the chain in `advance` and `push`, at most 31 bits. */
  readonly buffer: number
  start(head: number): void
  /** CHAIN.DESCRIPTOR, CHAIN.END, or a negative CHAIN code. */
  next(): number
}
