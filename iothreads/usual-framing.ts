import {
  CMD_REQUEST,
  CMD_RESPONSE,
  DESC_F,
  type DescriptorRing,
  type GuestMemory,
  WINDOW_STRIDE,
} from 'vhost-user-protocol-ts'
import type { Framing } from './framing.js'
import type { Request } from './request.js'
import { decodeRequestHeader } from './request-header.js'
import type { RequestTable } from './request-table.js'

// A module's own constants are folded by the optimising compiler, another's members are not.
const { SIZE: REQUEST_SIZE } = CMD_REQUEST
const { SIZE: RESPONSE_SIZE } = CMD_RESPONSE
const { NEXT, WRITE, INDIRECT } = DESC_F
const HIGH = 2 ** 32
const WINDOW = WINDOW_STRIDE
const PER_WINDOW = 1 / WINDOW_STRIDE

/** Longest indirect table and longest buffer that are taken here, bytes; and most data segments. */
const MAX_TABLE = 2 ** 16
const MAX_LENGTH = 2 ** 24
const MAX_SEGMENTS = 32

/**
 * Reads the chains that drivers really make: the header in a descriptor of its own, the response in another, all of it
 * in the largest memory region. One function on typed arrays that calls nothing, which is what makes it fast; whatever
 * it does not know it leaves, undecided, to RequestReader, which knows everything.
 */
export class UsualFraming implements Framing {
  readonly #views: readonly DataView[]
  readonly #words: readonly Uint32Array[]
  readonly #desc: Uint32Array
  readonly #entries: number
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
    this.#desc = new Uint32Array(desc.buffer, desc.byteOffset, 4 * size)
    this.#entries = size
    this.#indirectAllowed = indirectAllowed
    this.#segments = table.segments
    const region = memory.largest
    this.#start = region?.guestAddress ?? 0
    this.#bytes = region?.size ?? 0
    this.#host = region?.hostAddress ?? 0
    this.#firstWindow = memory.firstWindowOfLargest
  }

  /** Reads the chain at `head` into `request`. False: nothing is decided, read it in the general way. */
  read(head: number, request: Request): boolean {
    const start = this.#start
    const bytes = this.#bytes
    let table = this.#desc
    let entries = this.#entries
    if (head >= entries) return false
    let base = 0
    let at = 4 * head
    let flags = table[at + 3]!
    if ((flags & INDIRECT) !== 0) {
      const length = table[at + 2]!
      const relative = table[at + 1]! * HIGH + table[at]! - start
      if (!this.#indirectAllowed || (flags & NEXT) !== 0 || length - 1 >= MAX_TABLE || (length & 15) !== 0) return false
      if (!(relative >= 0 && relative + length <= bytes)) return false
      const window = (relative * PER_WINDOW) | 0
      const offset = (relative - window * WINDOW) | 0
      if ((offset & 15) !== 0) return false
      table = this.#words[this.#firstWindow + window]!
      // Not opened yet: the general way does that.
      if (table.length === 0) return false
      base = offset >> 2
      at = base
      entries = length >> 4
      flags = table[at + 3]!
    }
    if ((flags & 0xffff) !== NEXT || table[at + 2] !== REQUEST_SIZE) return false
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
    do {
      const next = flags >>> 16
      if (next >= entries) return false
      at = base + 4 * next
      flags = table[at + 3]!
      const length = table[at + 2]!
      const relative = table[at + 1]! * HIGH + table[at]! - start
      // Length 0 is refused with the too long ones; a chain that loops ends at MAX_SEGMENTS.
      if (length - 1 >= MAX_LENGTH || length === 0 || (flags & INDIRECT) !== 0) return false
      if (!(relative >= 0 && relative + length <= bytes)) return false
      if ((flags & WRITE) === 0) {
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
    } while ((flags & NEXT) !== 0)
    if (responseWindow < 0) return false
    const window = (header * PER_WINDOW) | 0
    const view = this.#views[this.#firstWindow + window]!
    // A window that is not open yet is opened by the general way.
    if (this.#words[this.#firstWindow + window]!.length === 0 || this.#words[responseWindow]!.length === 0) return false
    request.head = head
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
