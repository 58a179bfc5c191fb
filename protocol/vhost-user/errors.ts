/** What can go wrong on the wire. A connection ends with one of these. */
export const WIRE_FAULTS = {
  VUS_BAD_VERSION: 'the version bits of a header are not 1',
  VUS_RESERVED_FLAGS: 'a header sets flag bits that have no meaning',
  VUS_REPLY_FLAG: 'a request carries the reply flag',
  VUS_BAD_REPLY: 'a reply does not answer the request that waits for one',
  VUS_PAYLOAD_TOO_LARGE: 'a header announces more payload than any message may have',
  VUS_PAYLOAD_SIZE: 'the payload is too short or too long for the request',
  VUS_BAD_PAYLOAD: 'a payload field holds a value that the message does not define',
  VUS_NUMBER_RANGE: 'an address, size or offset is 2^53 or more',
  VUS_FD_COUNT: 'a message brings a wrong number of descriptors',
  VUS_TRUNCATED: 'the peer closed the connection in the middle of a message',
  VUS_SOCKET_ERROR: 'the socket failed',
  VUS_SEND_QUEUE_FULL: 'the peer does not read what is sent to it',
  VUS_DISCONNECTED: 'the connection is gone',
} as const

/** Well-formed messages that the session does not carry out. */
export const REFUSALS = {
  VUS_UNKNOWN_REQUEST: 'the request code is not defined',
  VUS_UNSUPPORTED: 'the request is not one that this back end serves',
  VUS_NOT_NEGOTIATED: 'the request needs a feature that was not negotiated',
  VUS_FEATURES_NOT_OFFERED: 'the front end sets feature bits that were not offered',
  VUS_FEATURES_WHILE_RUNNING: 'features change while a ring is active',
  VUS_RING_INDEX: 'the message is for a ring that does not exist',
  VUS_RING_SIZE: 'the ring size is zero, too large, or no power of two',
  VUS_RING_BASE: 'the ring base is no index of this ring',
  VUS_RING_ALIGNMENT: 'a ring address is not aligned as virtio demands',
  VUS_RING_FLAGS: 'the ring flags are unknown, or ask for logging that was not negotiated',
  VUS_RING_RUNNING: 'the message would change an active ring',
  VUS_RING_NOT_CONFIGURED: 'a ring is started before its size and addresses are known',
  VUS_NOT_AN_EVENTFD: 'a kick, call or error descriptor is no eventfd',
  VUS_REGION_EMPTY: 'a memory region has size 0',
  VUS_REGION_OVERFLOW: 'a memory region wraps around or reaches 2^53',
  VUS_REGION_OVERLAP: 'two memory regions overlap',
  VUS_TOO_MANY_REGIONS: 'there are more memory regions than slots',
  VUS_UNKNOWN_REGION: 'a region to remove is not in the table',
  VUS_LOG_SIZE: 'a dirty log is empty or reaches 2^53',
  VUS_INFLIGHT_SIZE: 'an inflight buffer is empty, reaches 2^53, or is for rings that cannot be',
  VUS_NOT_A_CHANNEL: 'the back-end channel is no Unix stream socket, or one that listens',
  VUS_CONFIG_RANGE: 'a config access is larger than config space, or larger than its message',
  VUS_CONFIG_REFUSED: 'the device does not take this config write',
} as const

export type WireFault = keyof typeof WIRE_FAULTS
export type Refusal = keyof typeof REFUSALS

/** The peer broke the protocol (or the socket broke): the connection ends. `code` is stable, the message is for people. */
export class ProtocolError extends Error {
  readonly code: WireFault

  constructor(code: WireFault, detail?: string) {
    super(detail === undefined ? WIRE_FAULTS[code] : `${WIRE_FAULTS[code]}: ${detail}`)
    this.name = 'ProtocolError'
    this.code = code
  }
}

/** A message that cannot be carried out. The front end gets a negative acknowledgement if it asked for one. */
export class RefusedError extends Error {
  readonly code: Refusal

  constructor(code: Refusal, detail?: string) {
    super(detail === undefined ? REFUSALS[code] : `${REFUSALS[code]}: ${detail}`)
    this.name = 'RefusedError'
    this.code = code
  }
}

/** A front end's view of a refusal: the back end acknowledged `request` with `value` instead of 0. */
export class NackError extends Error {
  readonly code = 'VUS_NACK'
  readonly request: number
  readonly value: bigint

  constructor(request: number, name: string, value: bigint) {
    super(`${name} was refused by the back end (${value})`)
    this.name = 'NackError'
    this.request = request
    this.value = value
  }
}
