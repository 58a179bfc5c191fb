import {
  CHAIN,
  type Chain,
  CMD_REQUEST,
  CMD_RESPONSE,
  createChain,
  type DescriptorRing,
  type GuestMemory,
} from 'vhost-user-protocol-ts'
import type { Framing } from './framing.js'
import { PackedUsualFraming } from './packed-usual-framing.js'
import type { Request } from './request.js'
import { decodeRequestHeader } from './request-header.js'
import { MAX_SEGMENTS, type RequestTable } from './request-table.js'
import { UsualFraming } from './usual-framing.js'

/** What `read` answers besides the negative CHAIN codes. Positive: this request is bad, the ring is not. */
export const READ = {
  OK: 0,
  HEADER_SHORT: 1,
  HEADER_ADDRESS: 2,
  RESPONSE_SHORT: 3,
  RESPONSE_ADDRESS: 4,
  DATA_ADDRESS: 5,
  TOO_MANY_SEGMENTS: 6,
  TOO_LONG: 7,
} as const

/** Stable names of the bad-request codes, for logs and counters. */
export const READ_FAULTS: Record<number, string> = {
  [READ.HEADER_SHORT]: 'VUS_REQUEST_HEADER_SHORT',
  [READ.HEADER_ADDRESS]: 'VUS_REQUEST_HEADER_ADDRESS',
  [READ.RESPONSE_SHORT]: 'VUS_REQUEST_RESPONSE_SHORT',
  [READ.RESPONSE_ADDRESS]: 'VUS_REQUEST_RESPONSE_ADDRESS',
  [READ.DATA_ADDRESS]: 'VUS_REQUEST_DATA_ADDRESS',
  [READ.TOO_MANY_SEGMENTS]: 'VUS_REQUEST_TOO_MANY_SEGMENTS',
  [READ.TOO_LONG]: 'VUS_REQUEST_TOO_LONG',
}

/** Bytes of data that one request may move; more than any limit that is advertised. Keeps all lengths small integers. */
const MAX_DATA = 2 ** 30

// A module's own constants are folded by the optimising compiler, another's members are not.
const { SIZE: REQUEST_SIZE } = CMD_REQUEST
const { SIZE: RESPONSE_SIZE } = CMD_RESPONSE
const { DESCRIPTOR } = CHAIN

/**
 * Reads descriptor chains into requests (virtio 1.3 5.6.6.1): header and CDB copied once into private memory, data
 * buffers translated to iovecs, the response's place remembered. No framing is assumed: any field may lie anywhere in
 * any number of descriptors; the usual framing is the fast one.
 */
export class RequestReader {
  readonly #usual: Framing
  readonly #chain: Chain
  readonly #memory: GuestMemory
  readonly #segments: Float64Array
  /** Gathers a header that comes in pieces. */
  readonly #pieces = new Uint8Array(REQUEST_SIZE)
  readonly #piecesView = new DataView(this.#pieces.buffer)

  constructor(memory: GuestMemory, ring: DescriptorRing, table: RequestTable, indirectAllowed: boolean) {
    this.#memory = memory
    this.#chain = createChain(memory, ring, indirectAllowed)
    const Usual = ring.packed ? PackedUsualFraming : UsualFraming
    this.#usual = new Usual(memory, ring, table, indirectAllowed)
    this.#segments = table.segments
  }

  /**
   * Reads the chain at `head`. Whatever it answers, there is a response to write if `request.responseWindow` is not
   * negative or `request.scatterCount` not 0.
   */
  read(head: number, request: Request): number {
    return this.#usual.read(head, request) ? READ.OK : this.#general(head, request)
  }

  #general(head: number, request: Request): number {
    const chain = this.#chain
    const memory = this.#memory
    request.outSegments = 0
    request.inSegments = 0
    request.outLength = 0
    request.inLength = 0
    request.responseWindow = -1
    request.scatterCount = 0
    let header = 0
    let response = 0
    let hasResponse = true
    let fault: number = READ.OK
    chain.start(head)
    let step = chain.next()
    while (step === DESCRIPTOR) {
      let address = chain.address
      let length = chain.length
      if (!chain.writable) {
        if (header < REQUEST_SIZE) {
          const part = Math.min(length, REQUEST_SIZE - header)
          if (part === REQUEST_SIZE && memory.locate(address, part)) {
            decodeRequestHeader(request, memory.views[memory.window]!, memory.offset)
          } else if (!memory.read(address, this.#pieces, header, part)) {
            fault ||= READ.HEADER_ADDRESS
          } else if (header + part === REQUEST_SIZE) {
            decodeRequestHeader(request, this.#piecesView, 0)
          }
          header += part
          address += part
          length -= part
        }
        if (length > 0) fault ||= this.#addData(request, address, length, false)
      } else {
        if (response < RESPONSE_SIZE) {
          const part = Math.min(length, RESPONSE_SIZE - response)
          if (part === RESPONSE_SIZE && memory.locate(address, part)) {
            request.responseWindow = memory.window
            request.responseOffset = memory.offset
          } else {
            const outcome = this.#addResponsePiece(request, address, part)
            if (outcome !== READ.OK) hasResponse = false
            fault ||= outcome
          }
          response += part
          address += part
          length -= part
        }
        if (length > 0) fault ||= this.#addData(request, address, length, true)
      }
      step = chain.next()
    }
    if (step < 0) return step
    request.head = chain.buffer
    // A part of a response is none.
    if (response < RESPONSE_SIZE || !hasResponse) request.scatterCount = 0
    if (fault !== READ.OK) return fault
    if (header < REQUEST_SIZE) return READ.HEADER_SHORT
    return response < RESPONSE_SIZE ? READ.RESPONSE_SHORT : READ.OK
  }

  #addData(request: Request, address: number, length: number, writable: boolean): number {
    const total = (writable ? request.inLength : request.outLength) + length
    if (total > MAX_DATA) return READ.TOO_LONG
    if (writable) request.inLength = total
    else request.outLength = total
    while (length > 0) {
      let part = length
      let host = this.#memory.translate(address, part)
      if (host < 0) {
        // It may run on into the next region: take what lies in this one.
        part = Math.min(length, this.#memory.contiguous(address))
        if (part === 0) return READ.DATA_ADDRESS
        host = this.#memory.translate(address, part)
      }
      const segment = request.outSegments + request.inSegments
      if (segment === MAX_SEGMENTS) return READ.TOO_MANY_SEGMENTS
      const at = request.firstSegment + 2 * segment
      this.#segments[at] = host
      this.#segments[at + 1] = part
      if (writable) request.inSegments++
      else request.outSegments++
      address += part
      length -= part
    }
    return READ.OK
  }

  #addResponsePiece(request: Request, address: number, length: number): number {
    while (length > 0) {
      const part = Math.min(length, this.#memory.contiguous(address))
      if (part === 0) return READ.RESPONSE_ADDRESS
      request.scatter ??= new Float64Array(2 * RESPONSE_SIZE)
      request.scatter[2 * request.scatterCount] = address
      request.scatter[2 * request.scatterCount + 1] = part
      request.scatterCount++
      address += part
      length -= part
    }
    return READ.OK
  }
}
