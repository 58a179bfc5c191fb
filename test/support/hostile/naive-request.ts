import {
  CHAIN,
  CHAIN_FAULTS,
  CMD_REQUEST,
  CMD_RESPONSE,
  decodeLun,
  LUN_INVALID,
  VQ,
  WLUN_REPORT_LUNS,
} from 'vhost-user-protocol-ts'
import type { Segment, Walk } from '../vhost/naive-chain.js'

/** Where guest memory is, ascending. */
export interface NaiveMemory {
  readonly regions: readonly { readonly guestAddress: number; readonly size: number }[]
  bytes(address: number, length: number): Uint8Array
}

/** The most data of a request in either direction, and the most buffers in memory that it lies in. */
const MAX_DATA = 2 ** 30
const MAX_SEGMENTS = 1024
/** What is read of a request on the control queue. */
const CONTROL_BYTES = 64

/** A range as parts that lie in one region each; undefined when some of it is not memory. */
function parts(
  memory: NaiveMemory,
  address: number,
  length: number,
): { address: number; length: number }[] | undefined {
  const list: { address: number; length: number }[] = []
  while (length > 0) {
    const from = address
    const region = memory.regions.find((r) => from >= r.guestAddress && from < r.guestAddress + r.size)
    if (region === undefined) return undefined
    const part = Math.min(length, region.guestAddress + region.size - from)
    list.push({ address, length: part })
    address += part
    length -= part
  }
  return list
}

function gather(memory: NaiveMemory, segments: readonly Segment[], length: number): Uint8Array {
  const bytes: number[] = []
  for (const segment of segments) {
    const wanted = Math.min(segment.length, length - bytes.length)
    for (const part of parts(memory, segment.address, wanted)!) bytes.push(...memory.bytes(part.address, part.length))
  }
  return Uint8Array.from(bytes)
}

/** How the buffers of one kind are split into a head of `size` bytes and data. */
function split(segments: readonly Segment[], size: number): { head: Segment[]; data: Segment[]; missing: number } {
  const head: Segment[] = []
  const data: Segment[] = []
  let missing = size
  for (const { address, length, writable } of segments) {
    const part = Math.min(length, missing)
    head.push({ address, length: part, writable })
    if (length > part) data.push({ address: address + part, length: length - part, writable })
    missing -= part
  }
  return { head, data, missing }
}

/** The first fault of a stream's buffers, in their order; undefined: none. */
function streamFault(
  memory: NaiveMemory,
  { head, data }: ReturnType<typeof split>,
  addressFault: string,
  segmentsBefore: number,
): string | undefined {
  for (const { address, length } of head) if (parts(memory, address, length) === undefined) return addressFault
  let total = 0
  let count = segmentsBefore
  for (const { address, length } of data) {
    total += length
    if (total > MAX_DATA) return 'VUS_REQUEST_TOO_LONG'
    // What is in memory counts as a segment even if what follows it is not.
    for (let at = address; at < address + length; ) {
      const region = memory.regions.find((r) => at >= r.guestAddress && at < r.guestAddress + r.size)
      if (region === undefined) return 'VUS_REQUEST_DATA_ADDRESS'
      if (count === MAX_SEGMENTS) return 'VUS_REQUEST_TOO_MANY_SEGMENTS'
      count++
      at = region.guestAddress + region.size
    }
  }
  return undefined
}

/**
 * What a device whose targets are `targets` must make of a chain in a ring: the fault that it counts, if any. The plain twin of
 * RequestReader and MainQueue. The guest must not change the header meanwhile.
 */
export function naiveFault(
  memory: NaiveMemory,
  ring: number,
  walk: Walk,
  targets: readonly number[],
): string | undefined {
  const readable = walk.segments.filter(({ writable }) => !writable)
  if (ring === VQ.CONTROL) {
    // Read while it is walked: before whatever else is wrong with it.
    const { head } = split(readable, CONTROL_BYTES)
    const bad = head.some(({ address, length }) => parts(memory, address, length) === undefined)
    if (bad) return CHAIN_FAULTS[CHAIN.ADDRESS_RANGE]
  }
  if (walk.end !== CHAIN.END) return CHAIN_FAULTS[walk.end]
  if (ring === VQ.CONTROL) return undefined
  const out = split(readable, CMD_REQUEST.SIZE)
  const into = split(
    walk.segments.filter(({ writable }) => writable),
    CMD_RESPONSE.SIZE,
  )
  const fault =
    streamFault(memory, out, 'VUS_REQUEST_HEADER_ADDRESS', 0) ??
    streamFault(memory, into, 'VUS_REQUEST_RESPONSE_ADDRESS', out.data.length)
  if (fault !== undefined) return fault
  if (out.missing > 0) return 'VUS_REQUEST_HEADER_SHORT'
  if (into.missing > 0) return 'VUS_REQUEST_RESPONSE_SHORT'
  const header = gather(memory, out.head, CMD_REQUEST.SIZE)
  const lun = decodeLun(header[0]!, header[1]!, header[2]!, header[3]!)
  if (lun === LUN_INVALID) return 'VUS_REQUEST_LUN_FORMAT'
  const known = lun === WLUN_REPORT_LUNS || targets.includes(header[1]!)
  return known && out.data.length > 0 && into.data.length > 0 ? 'VUS_REQUEST_BIDIRECTIONAL' : undefined
}
