import {
  CMD_REQUEST,
  CMD_RESPONSE,
  type DescriptorRing,
  type GuestMemory,
  PACKED_DESC_F,
  WINDOW_STRIDE,
} from 'vhost-user-protocol-ts'
import type { Framing } from './framing.js'
import type { Request } from './request.js'
import { decodeRequestHeader } from './request-header.js'
import type { RequestTable } from './request-table.js'

// A module's own constants are folded by the optimising compiler, another's members are not.
const { SIZE: REQUEST_SIZE } = CMD_REQUEST
const { SIZE: RESPONSE_SIZE } = CMD_RESPONSE
// Flags as they lie in the word that holds id and flags.
const NEXT = PACKED_DESC_F.NEXT << 16
const WRITE = PACKED_DESC_F.WRITE << 16
const INDIRECT = PACKED_DESC_F.INDIRECT << 16
const HIGH = 2 ** 32
const WINDOW = WINDOW_STRIDE
const PER_WINDOW = 1 / WINDOW_STRIDE

const MAX_LENGTH = 2 ** 24
const MAX_SEGMENTS = 32

/** UsualFraming for packed rings (virtio 1.3 2.8.5 to 2.8.7). */
export class PackedUsualFraming implements Framing {
  readonly #views: readonly DataView[]
  readonly #words: readonly Uint32Array[]
  readonly #ring: Uint32Array
  readonly #end: number
  readonly #indirectAllowed: boolean
  readonly #segments: Float64Array
  /** The largest region: first guest address, bytes, host address, first window. */
  readonly #start: number
  readonly #bytes: number
  readonly #host: number
  readonly #firstWindow: number

  constructor(memory: GuestMemory, ring: DescriptorRing, table: RequestTable, indirectAllowed: boolean) {
    const { desc, size } = ring
    this.#views = memory.views
    this.#words = memory.words
    this.#ring = new Uint32Array(desc.buffer, desc.byteOffset, 4 * size)
    this.#end = 4 * size
    this.#indirectAllowed = indirectAllowed
    this.#segments = table.segments
    const region = memory.largest
    this.#start = region?.guestAddress ?? 0
    this.#bytes = region?.size ?? 0
    this.#host = region?.hostAddress ?? 0
    this.#firstWindow = memory.firstWindowOfLargest
  }

  /** Reads the chain that begins at ring index `head`. False: nothing is decided, read it in the general way. */
  read(head: number, request: Request): boolean {
    const start = this.#start
    const bytes = this.#bytes
    let table = this.#ring
    // No chain: that is for the general way to say.
    if (head < 0) return false
    let at = 4 * head
    // Where the entries go on at the table's first word; an indirect table's never do.
    let end = this.#end
    let word = table[at + 3]!
    // Entries of an indirect table that follow; -1 in the ring, whose chains go on by NEXT.
    let left = -1
    let buffer = 0x1_0000
    if ((word & INDIRECT) !== 0) {
      const length = table[at + 2]!
      const relative = table[at + 1]! * HIGH + table[at]! - start
      if (!this.#indirectAllowed || (word & NEXT) !== 0 || (length & 15) !== 0) return false
      left = (length >>> 4) - 1
      // 0 and -1 too: no room for a response.
      if (left <= 0 || !(relative >= 0 && relative + length <= bytes)) return false
      const window = (relative * PER_WINDOW) | 0
      const offset = (relative - window * WINDOW) | 0
      if ((offset & 15) !== 0) return false
      buffer |= word & 0xffff
      table = this.#words[this.#firstWindow + window]!
      // Not opened yet: the general way does that.
      if (table.length === 0) return false
      at = offset >> 2
      end = -1
      word = table[at + 3]!
    } else if ((word & NEXT) === 0) {
      return false
    }
    if ((word & WRITE) !== 0 || table[at + 2] !== REQUEST_SIZE) return false
    const header = table[at + 1]! * HIGH + table[at]! - start
    if (!(header >= 0 && header + REQUEST_SIZE <= bytes)) return false
    const segments = this.#segments
    const host = this.#host
    const first = request.firstSegment
    let segment = first
    let outEnd = first
    let responseWindow = -1
    let responseOffset = 0
    let outLength = 0
    let inLength = 0
    let isLast = false
    do {
      at += 4
      if (at === end) at = 0
      word = table[at + 3]!
      if (left < 0) {
        if ((word & INDIRECT) !== 0) return false
        buffer += 0x1_0000
        isLast = (word & NEXT) === 0
        if (isLast) buffer |= word & 0xffff
      } else {
        isLast = --left === 0
      }
      const length = table[at + 2]!
      const relative = table[at + 1]! * HIGH + table[at]! - start
      // Length 0 is refused with the too long ones; a chain that goes round and round ends at MAX_SEGMENTS.
      if (length - 1 >= MAX_LENGTH || length === 0) return false
      if (!(relative >= 0 && relative + length <= bytes)) return false
      if ((word & WRITE) === 0) {
        if (responseWindow >= 0) return false
        outLength += length
        outEnd = segment + 2
      } else if (responseWindow < 0) {
        if (length !== RESPONSE_SIZE) return false
        const window = (relative * PER_WINDOW) | 0
        responseWindow = this.#firstWindow + window
        responseOffset = (relative - window * WINDOW) | 0
        continue
      } else {
        inLength += length
      }
      if (segment === first + 2 * MAX_SEGMENTS) return false
      segments[segment] = host + relative
      segments[segment + 1] = length
      segment += 2
    } while (!isLast)
    if (responseWindow < 0) return false
    const window = (header * PER_WINDOW) | 0
    const view = this.#views[this.#firstWindow + window]!
    // A window that is not open yet is opened by the general way.
    if (this.#words[this.#firstWindow + window]!.length === 0 || this.#words[responseWindow]!.length === 0) return false
    request.head = buffer
    request.outSegments = (outEnd - first) >> 1
    request.inSegments = (segment - outEnd) >> 1
    request.outLength = outLength
    request.inLength = inLength
    request.responseWindow = responseWindow
    request.responseOffset = responseOffset
    request.scatterCount = 0
    decodeRequestHeader(request, view, (header - window * WINDOW) | 0)
    return true
  }
}
