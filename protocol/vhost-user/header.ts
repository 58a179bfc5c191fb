import type { WireFault } from './errors.js'
import { HOST_LITTLE_ENDIAN } from './u64.js'

/** Offsets of the message header: three u32 (vhost-user.rst "Header"). `LENGTH` is the whole header's size. */
export const HEADER = { REQUEST: 0, FLAGS: 4, SIZE: 8, LENGTH: 12 } as const

/** The header's flags: the version in bits 0-1, the reply and the need_reply flag; bits 4 and up are reserved. */
export const HEADER_FLAG = { VERSION_MASK: 0x3, VERSION: 0x1, REPLY: 0x4, NEED_REPLY: 0x8 } as const

const RESERVED = ~(HEADER_FLAG.VERSION_MASK | HEADER_FLAG.REPLY | HEADER_FLAG.NEED_REPLY)

export interface Header {
  request: number
  flags: number
  /** Payload bytes that follow. */
  size: number
}

export function encodeHeader(view: DataView, offset: number, request: number, flags: number, size: number): void {
  view.setUint32(offset + HEADER.REQUEST, request, HOST_LITTLE_ENDIAN)
  view.setUint32(offset + HEADER.FLAGS, flags, HOST_LITTLE_ENDIAN)
  view.setUint32(offset + HEADER.SIZE, size, HOST_LITTLE_ENDIAN)
}

export function decodeHeader(view: DataView, offset: number): Header {
  return {
    request: view.getUint32(offset + HEADER.REQUEST, HOST_LITTLE_ENDIAN),
    flags: view.getUint32(offset + HEADER.FLAGS, HOST_LITTLE_ENDIAN),
    size: view.getUint32(offset + HEADER.SIZE, HOST_LITTLE_ENDIAN),
  }
}

/** Which way messages flow: a back end reads requests, a front end reads replies. */
export type Direction = 'requests' | 'replies'

/** What is wrong with a header that arrived, or undefined. Nothing of its payload has been looked at yet. */
export function headerFault(header: Header, direction: Direction, maxPayload: number): WireFault | undefined {
  if ((header.flags & HEADER_FLAG.VERSION_MASK) !== HEADER_FLAG.VERSION) return 'VUS_BAD_VERSION'
  if ((header.flags & RESERVED) !== 0) return 'VUS_RESERVED_FLAGS'
  const isReply = (header.flags & HEADER_FLAG.REPLY) !== 0
  if (direction === 'requests' && isReply) return 'VUS_REPLY_FLAG'
  if (direction === 'replies' && !isReply) return 'VUS_BAD_REPLY'
  if (header.size > maxPayload) return 'VUS_PAYLOAD_TOO_LARGE'
  return undefined
}
