import { CHAIN, LENGTH_MAX, MAX_CHAIN } from 'vhost-user-protocol-ts'
import type { Look, Segment } from './naive-chain.js'
import { readDescriptor } from './plain-packed.js'

const NEXT = 1
const WRITE = 2
const INDIRECT = 4

/** The buffers of a chain up to its end, the CHAIN code that it ends with, and what the ring says of it. */
export interface PackedWalk {
  readonly segments: Segment[]
  readonly end: number
  /** Of a chain with an end: its id, and how many descriptors of the ring it takes. */
  readonly id?: number
  readonly count?: number
}

/**
 * Walks a chain of a packed ring by the rules of PackedChain, but read off the text: BigInts, a copy of each table, one
 * list of descriptors made first and checked afterwards. The plain twin for tests.
 */
export function naivePackedChain(look: Look, ring: DataView, size: number, allowed: boolean, head: number): PackedWalk {
  if (head < 0 || head >= size) return { segments: [], end: CHAIN.HEAD_OUT_OF_RANGE }
  const direct: ReturnType<typeof readDescriptor>[] = []
  for (let i = head; direct.length <= size; i = (i + 1) % size) {
    direct.push(readDescriptor(ring, 16 * i))
    if (direct.at(-1)!.flags & INDIRECT || !(direct.at(-1)!.flags & NEXT)) break
  }
  const last = direct.at(-1)!
  const segments: Segment[] = []
  const add = (d: { address: bigint; length: number; flags: number }, limit: number): number => {
    if (segments.length === MAX_CHAIN && limit > MAX_CHAIN) return CHAIN.TOO_LONG
    if (segments.length === limit) return CHAIN.LOOP
    if (d.address >= 2n ** 52n) return CHAIN.ADDRESS_RANGE
    const writable = (d.flags & WRITE) !== 0
    if (!writable && segments.at(-1)?.writable === true) return CHAIN.READABLE_AFTER_WRITABLE
    segments.push({ address: Number(d.address), length: Math.min(d.length, LENGTH_MAX), writable })
    return CHAIN.DESCRIPTOR
  }
  for (const d of direct) {
    if (!(d.flags & INDIRECT)) {
      const step = add(d, size)
      if (step !== CHAIN.DESCRIPTOR) return { segments, end: step }
      continue
    }
    const fault = ((): number => {
      if (segments.length === MAX_CHAIN && size > MAX_CHAIN) return CHAIN.TOO_LONG
      if (segments.length === size) return CHAIN.LOOP
      if (d.address >= 2n ** 52n) return CHAIN.ADDRESS_RANGE
      if (!allowed) return CHAIN.INDIRECT_NOT_NEGOTIATED
      if (d.flags & NEXT || direct.length > 1) return CHAIN.INDIRECT_AND_NEXT
      if (d.length === 0 || d.length % 16 !== 0 || d.length > 2 ** 19) return CHAIN.INDIRECT_LENGTH
      return 0
    })()
    if (fault !== 0) return { segments, end: fault }
    const bytes = look(d.address, d.length)
    if (bytes === undefined) return { segments, end: CHAIN.INDIRECT_ADDRESS }
    const table = new DataView(bytes.buffer, bytes.byteOffset, d.length)
    for (let at = 0; at < d.length; at += 16) {
      const step = add(readDescriptor(table, at), Number.POSITIVE_INFINITY)
      if (step !== CHAIN.DESCRIPTOR) return { segments, end: step }
    }
  }
  return { segments, end: CHAIN.END, id: last.id, count: direct.length }
}
