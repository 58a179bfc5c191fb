import { ProtocolError } from './errors.js'

/** vhost-user fields are in the machine's own byte order (vhost-user.rst "Message Specification"). */
export const HOST_LITTLE_ENDIAN = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1

const TWO_32 = 2 ** 32
const LOW_AT = HOST_LITTLE_ENDIAN ? 0 : 4
const HIGH_AT = 4 - LOW_AT

/** The first number that a u64 address or size may not reach: beyond it a Number loses bytes. */
export const U64_LIMIT = 2 ** 53

/**
 * A u64 address, size or offset as a Number.
 * @throws {ProtocolError} VUS_NUMBER_RANGE for 2^53 and above
 */
export function readU64(view: DataView, offset: number): number {
  const high = view.getUint32(offset + HIGH_AT, HOST_LITTLE_ENDIAN)
  if (high >= U64_LIMIT / TWO_32) {
    throw new ProtocolError('VUS_NUMBER_RANGE', `a 64-bit field holds 0x${readMask(view, offset).toString(16)}`)
  }
  return high * TWO_32 + view.getUint32(offset + LOW_AT, HOST_LITTLE_ENDIAN)
}

/** Writes an integer in 0..2^53-1 as a u64. */
export function writeU64(view: DataView, offset: number, value: number): void {
  view.setUint32(offset + LOW_AT, value >>> 0, HOST_LITTLE_ENDIAN)
  view.setUint32(offset + HIGH_AT, Math.floor(value / TWO_32), HOST_LITTLE_ENDIAN)
}

/** A u64 bit mask. */
export function readMask(view: DataView, offset: number): bigint {
  return view.getBigUint64(offset, HOST_LITTLE_ENDIAN)
}

/** Writes a u64 bit mask. */
export function writeMask(view: DataView, offset: number, mask: bigint): void {
  view.setBigUint64(offset, mask, HOST_LITTLE_ENDIAN)
}

/** The payload of a message that is one u64. */
export function u64Payload(value: number): Uint8Array {
  const bytes = new Uint8Array(8)
  writeU64(new DataView(bytes.buffer), 0, value)
  return bytes
}

/** The payload of a message that is one u64 bit mask. */
export function maskPayload(mask: bigint): Uint8Array {
  const bytes = new Uint8Array(8)
  writeMask(new DataView(bytes.buffer), 0, mask)
  return bytes
}
