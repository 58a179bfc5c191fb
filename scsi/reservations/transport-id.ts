/**
 * TransportID of a SAS initiator port (SPC-4 7.6.4.6): the format of our front ends' ports. virtio has no protocol identifier of its own, and
 * tools know how to print and to parse this one.
 */
const TRANSPORT_ID = { PROTOCOL: 0, SAS_ADDRESS: 4, SIZE: 24 } as const

/** FORMAT CODE 0 and PROTOCOL IDENTIFIER 6h: SAS Serial SCSI Protocol. */
const SAS = 0x06

export const TRANSPORT_ID_BYTES = TRANSPORT_ID.SIZE

/** The digits of a big-endian 64-bit value. */
export function hexAt(bytes: Uint8Array, at: number): string {
  let digits = ''
  for (let i = at; i < at + 8; i++) digits += bytes[i]!.toString(16).padStart(2, '0')
  return digits
}

/** Writes 16 hex digits as a big-endian 64-bit value. */
export function putHex(into: Uint8Array, at: number, digits: string): void {
  for (let i = 0; i < 8; i++) into[at + i] = Number.parseInt(digits.slice(2 * i, 2 * i + 2), 16)
}

/** Writes the TransportID of an initiator port. @param initiator its SAS address: 16 hex digits */
export function putTransportId(into: Uint8Array, at: number, initiator: string): void {
  into.fill(0, at, at + TRANSPORT_ID.SIZE)
  into[at + TRANSPORT_ID.PROTOCOL] = SAS
  putHex(into, at + TRANSPORT_ID.SAS_ADDRESS, initiator)
}

/** The SAS address in the TransportID at `at`, of which TRANSPORT_ID_BYTES are there; undefined: it is of another protocol. */
export function initiatorAt(bytes: Uint8Array, at: number): string | undefined {
  return bytes[at + TRANSPORT_ID.PROTOCOL] === SAS ? hexAt(bytes, at + TRANSPORT_ID.SAS_ADDRESS) : undefined
}
