import type { FRONT_END_REQUEST } from 'vhost-user-protocol-ts'

/** What becomes of each request: `-` is no answer, a number the bytes of a reply, and a code the end of the connection. */
export type Outcomes = readonly [bare: string, negotiated: string, acknowledged: string]

export const UNKNOWN: Outcomes = ['VUS_UNKNOWN_REQUEST', 'VUS_UNKNOWN_REQUEST', 'nack']
const SERVED: Outcomes = ['-', '-', 'ack']
/** Served if negotiated; refused without a word if not. */
const OPTIONAL: Outcomes = ['- refused', '-', 'ack']
/** Served if negotiated; the end if not. */
const GATED: Outcomes = ['VUS_NOT_NEGOTIATED', '-', 'ack']
const REFUSED: Outcomes = ['- refused', '- refused', 'nack']
const FATAL: Outcomes = ['VUS_NOT_NEGOTIATED', 'VUS_NOT_NEGOTIATED', 'nack']
const always = (outcome: string): Outcomes => [outcome, outcome, outcome]

/** Bare: nothing was negotiated. Negotiated: all that a session can do, without and with need_reply. */
export const OUTCOMES: Readonly<Record<keyof typeof FRONT_END_REQUEST, Outcomes>> = {
  GET_FEATURES: always('8'),
  SET_FEATURES: SERVED,
  SET_OWNER: SERVED,
  RESET_OWNER: SERVED,
  SET_MEM_TABLE: SERVED,
  SET_LOG_BASE: ['VUS_NOT_NEGOTIATED', 'ack', 'ack'],
  SET_LOG_FD: REFUSED,
  SET_VRING_NUM: SERVED,
  SET_VRING_ADDR: SERVED,
  SET_VRING_BASE: SERVED,
  GET_VRING_BASE: always('8'),
  SET_VRING_KICK: SERVED,
  SET_VRING_CALL: SERVED,
  SET_VRING_ERR: SERVED,
  GET_PROTOCOL_FEATURES: always('8'),
  SET_PROTOCOL_FEATURES: SERVED,
  GET_QUEUE_NUM: always('8'),
  SET_VRING_ENABLE: SERVED,
  SEND_RARP: REFUSED,
  NET_SET_MTU: REFUSED,
  SET_BACKEND_REQ_FD: OPTIONAL,
  IOTLB_MSG: always('8 refused'),
  SET_VRING_ENDIAN: FATAL,
  GET_CONFIG: ['12', '12', '12'],
  SET_CONFIG: SERVED,
  CREATE_CRYPTO_SESSION: always('VUS_NOT_NEGOTIATED'),
  CLOSE_CRYPTO_SESSION: FATAL,
  POSTCOPY_ADVISE: always('0 refused'),
  POSTCOPY_LISTEN: FATAL,
  POSTCOPY_END: always('8 refused'),
  GET_INFLIGHT_FD: ['24 refused', '24 and a descriptor', '24 and a descriptor'],
  SET_INFLIGHT_FD: OPTIONAL,
  GPU_SET_SOCKET: ['VUS_UNSUPPORTED', 'VUS_UNSUPPORTED', 'nack'],
  RESET_DEVICE: GATED,
  VRING_KICK: FATAL,
  GET_MAX_MEM_SLOTS: ['8 refused', '8', '8'],
  ADD_MEM_REG: GATED,
  REM_MEM_REG: ['VUS_NOT_NEGOTIATED', 'VUS_UNKNOWN_REGION', 'nack'],
  SET_STATUS: OPTIONAL,
  GET_STATUS: ['VUS_NOT_NEGOTIATED', '8', '8'],
  GET_SHARED_OBJECT: always('16 refused'),
  SET_DEVICE_STATE_FD: always('8 refused'),
  CHECK_DEVICE_STATE: always('8 refused'),
  GET_SHMEM_CONFIG: always('2056 refused'),
  GET_VRING_BASE_SKIP_DRAIN: always('VUS_NOT_NEGOTIATED'),
}
