import { encodeHeader, encodeVringFd, encodeVringState, HEADER, VRING_FD, VRING_STATE } from 'vhost-user-protocol-ts'

/** A message's bytes; its header may announce another size than the payload has. */
export function frame(
  request: number,
  flags: number,
  payload: Uint8Array = new Uint8Array(0),
  size = payload.length,
): Uint8Array {
  const bytes = new Uint8Array(HEADER.LENGTH + payload.length)
  encodeHeader(new DataView(bytes.buffer), 0, request, flags, size)
  bytes.set(payload, HEADER.LENGTH)
  return bytes
}

/** The payload of SET_VRING_KICK and its like. */
export function vringFd(index: number, hasFd: boolean): Uint8Array {
  const payload = new Uint8Array(VRING_FD.SIZE)
  encodeVringFd(new DataView(payload.buffer), 0, { index, hasFd })
  return payload
}

/** The payload of SET_VRING_NUM and its like. */
export function vringState(index: number, num: number): Uint8Array {
  const payload = new Uint8Array(VRING_STATE.SIZE)
  encodeVringState(new DataView(payload.buffer), 0, { index, num })
  return payload
}
