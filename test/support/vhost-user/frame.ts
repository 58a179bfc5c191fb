import { encodeHeader, HEADER } from 'vhost-user-protocol-ts'

/** A message's bytes; `size` is what its header says. */
export const frame = (
  request: number,
  flags: number,
  payload: Uint8Array = new Uint8Array(0),
  size = payload.length,
): Uint8Array => {
  const bytes = new Uint8Array(HEADER.LENGTH + payload.length)
  encodeHeader(new DataView(bytes.buffer), 0, request, flags, size)
  bytes.set(payload, HEADER.LENGTH)
  return bytes
}
