import { CHAIN, DESC_F, LENGTH_MAX, MAX_CHAIN } from 'vhost-user-protocol-ts'

const { NEXT, WRITE, INDIRECT } = DESC_F

/** One buffer of a chain. */
export interface Segment {
  readonly address: number
  readonly length: number
  readonly writable: boolean
}

/** The buffers of a chain up to its end, and the CHAIN code that it ends with. */
export interface Walk {
  readonly segments: Segment[]
  readonly end: number
}

/** A copy of guest memory at an address; undefined unless all of it lies in one region. */
export type Look = (address: bigint, length: number) => Uint8Array | undefined

/**
 * Walks a descriptor chain by the rules of DescriptorChain, but read off the text: BigInts, a copy of each table, nothing reused. The
 * plain twin for tests.
 */
export function naiveChain(look: Look, table: DataView, size: number, allowed: boolean, head: number): Walk {
  const segments: Segment[] = []
  let view = table
  let entries = size
  let index = head
  let seen = 0
  let nested = false
  for (;;) {
    if (index >= entries)
      return { segments, end: seen === 0 && !nested ? CHAIN.HEAD_OUT_OF_RANGE : CHAIN.NEXT_OUT_OF_RANGE }
    if (seen === MAX_CHAIN && entries > MAX_CHAIN) return { segments, end: CHAIN.TOO_LONG }
    // Any way that is longer than the table has descriptors meets one of them twice.
    if (seen === entries) return { segments, end: CHAIN.LOOP }
    seen++
    const address = view.getBigUint64(16 * index, true)
    const length = view.getUint32(16 * index + 8, true)
    const flags = view.getUint16(16 * index + 12, true)
    const next = view.getUint16(16 * index + 14, true)
    if (address >= 2n ** 52n) return { segments, end: CHAIN.ADDRESS_RANGE }
    if (flags & INDIRECT) {
      if (!allowed) return { segments, end: CHAIN.INDIRECT_NOT_NEGOTIATED }
      if (nested) return { segments, end: CHAIN.NESTED_INDIRECT }
      if (flags & NEXT) return { segments, end: CHAIN.INDIRECT_AND_NEXT }
      if (length === 0 || length % 16 !== 0 || length > 2 ** 19) return { segments, end: CHAIN.INDIRECT_LENGTH }
      const bytes = look(address, length)
      if (bytes === undefined) return { segments, end: CHAIN.INDIRECT_ADDRESS }
      view = new DataView(bytes.buffer, bytes.byteOffset, length)
      entries = length / 16
      index = 0
      seen = 0
      nested = true
      continue
    }
    const writable = (flags & WRITE) !== 0
    if (segments.at(-1)?.writable === true && !writable) return { segments, end: CHAIN.READABLE_AFTER_WRITABLE }
    segments.push({ address: Number(address), length: Math.min(length, LENGTH_MAX), writable })
    if (!(flags & NEXT)) return { segments, end: CHAIN.END }
    index = next
  }
}
