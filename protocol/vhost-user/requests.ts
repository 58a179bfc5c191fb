import { VHOST_USER_PROTOCOL_F } from './features.js'
import { CONFIG_ACCESS, MAX_CONFIG_BYTES } from './messages/config.js'
import { IOTLB, MEM_TABLE, MEM_TABLE_MAX_REGIONS, memoryTableBytes, SINGLE_REGION } from './messages/memory.js'
import { DEVICE_STATE, INFLIGHT_DESCRIPTION, LOG_DESCRIPTION } from './messages/migration.js'
import { SHARED_OBJECT } from './messages/sharing.js'
import { VRING_ADDRESS, VRING_FD, VRING_STATE } from './messages/vring.js'

/** Request codes, front end to back end (vhost-user.rst "Front-end message types"). */
export const FRONT_END_REQUEST = {
  GET_FEATURES: 1,
  SET_FEATURES: 2,
  SET_OWNER: 3,
  RESET_OWNER: 4,
  SET_MEM_TABLE: 5,
  SET_LOG_BASE: 6,
  SET_LOG_FD: 7,
  SET_VRING_NUM: 8,
  SET_VRING_ADDR: 9,
  SET_VRING_BASE: 10,
  GET_VRING_BASE: 11,
  SET_VRING_KICK: 12,
  SET_VRING_CALL: 13,
  SET_VRING_ERR: 14,
  GET_PROTOCOL_FEATURES: 15,
  SET_PROTOCOL_FEATURES: 16,
  GET_QUEUE_NUM: 17,
  SET_VRING_ENABLE: 18,
  SEND_RARP: 19,
  NET_SET_MTU: 20,
  SET_BACKEND_REQ_FD: 21,
  IOTLB_MSG: 22,
  SET_VRING_ENDIAN: 23,
  GET_CONFIG: 24,
  SET_CONFIG: 25,
  CREATE_CRYPTO_SESSION: 26,
  CLOSE_CRYPTO_SESSION: 27,
  POSTCOPY_ADVISE: 28,
  POSTCOPY_LISTEN: 29,
  POSTCOPY_END: 30,
  GET_INFLIGHT_FD: 31,
  SET_INFLIGHT_FD: 32,
  GPU_SET_SOCKET: 33,
  RESET_DEVICE: 34,
  VRING_KICK: 35,
  GET_MAX_MEM_SLOTS: 36,
  ADD_MEM_REG: 37,
  REM_MEM_REG: 38,
  SET_STATUS: 39,
  GET_STATUS: 40,
  GET_SHARED_OBJECT: 41,
  SET_DEVICE_STATE_FD: 42,
  CHECK_DEVICE_STATE: 43,
  GET_SHMEM_CONFIG: 44,
  GET_VRING_BASE_SKIP_DRAIN: 45,
} as const

/** Request codes, back end to front end, on the socket of SET_BACKEND_REQ_FD (vhost-user.rst "Back-end message types"). */
export const BACK_END_REQUEST = {
  IOTLB_MSG: 1,
  CONFIG_CHANGE_MSG: 2,
  VRING_HOST_NOTIFIER_MSG: 3,
  VRING_CALL: 4,
  VRING_ERR: 5,
  SHARED_OBJECT_ADD: 6,
  SHARED_OBJECT_REMOVE: 7,
  SHARED_OBJECT_LOOKUP: 8,
  SHMEM_MAP: 9,
  SHMEM_UNMAP: 10,
} as const

/** The most payload that a request to this back end may have: SET_CONFIG with all of config space. */
export const MAX_REQUEST_PAYLOAD = CONFIG_ACCESS.SIZE + MAX_CONFIG_BYTES

/** The most descriptors that come with one request. */
export const MAX_REQUEST_FDS = 8

/** What is known of a request before its payload is looked at. */
export interface RequestInfo {
  code: number
  name: string
  /** Payload bytes allowed, both ends inclusive. */
  minPayload: number
  maxPayload: number
  /** Descriptors allowed, both ends inclusive; the payload may narrow it down. */
  minFds: number
  maxFds: number
  /** `explicit`: it always has a reply of its own. `ack`: a u64, 0 for success, when need_reply is set and was negotiated. */
  reply: 'explicit' | 'ack'
  /** The protocol feature that must have been negotiated for it, or -1. */
  gate: number
}

type Range = number | readonly [number, number]

const table: (RequestInfo | undefined)[] = []

function define(
  name: keyof typeof FRONT_END_REQUEST,
  payload: Range,
  fds: Range,
  reply: RequestInfo['reply'],
  gate: keyof typeof VHOST_USER_PROTOCOL_F | undefined = undefined,
): void {
  const [minPayload, maxPayload] = typeof payload === 'number' ? [payload, payload] : payload
  const [minFds, maxFds] = typeof fds === 'number' ? [fds, fds] : fds
  const code = FRONT_END_REQUEST[name]
  const bit = gate === undefined ? -1 : VHOST_USER_PROTOCOL_F[gate]
  table[code] = { code, name, minPayload, maxPayload, minFds, maxFds, reply, gate: bit }
}

const U64 = 8
const MEM_TABLE_BYTES: Range = [MEM_TABLE.SIZE, memoryTableBytes(MEM_TABLE_MAX_REGIONS)]
const CONFIG_BYTES: Range = [CONFIG_ACCESS.SIZE, MAX_REQUEST_PAYLOAD]

// name, payload bytes, descriptors, reply, gate
define('GET_FEATURES', 0, 0, 'explicit')
define('SET_FEATURES', U64, 0, 'ack')
define('SET_OWNER', 0, 0, 'ack')
define('RESET_OWNER', 0, 0, 'ack')
define('SET_MEM_TABLE', MEM_TABLE_BYTES, [0, MEM_TABLE_MAX_REGIONS], 'ack')
// With LOG_SHMFD negotiated it is answered by a u64 even without need_reply.
define('SET_LOG_BASE', [U64, LOG_DESCRIPTION.SIZE], [0, 1], 'ack', 'LOG_SHMFD')
define('SET_LOG_FD', [0, U64], [0, 1], 'ack')
define('SET_VRING_NUM', VRING_STATE.SIZE, 0, 'ack')
define('SET_VRING_ADDR', VRING_ADDRESS.SIZE, 0, 'ack')
define('SET_VRING_BASE', VRING_STATE.SIZE, 0, 'ack')
define('GET_VRING_BASE', VRING_STATE.SIZE, 0, 'explicit')
define('SET_VRING_KICK', VRING_FD.SIZE, [0, 1], 'ack')
define('SET_VRING_CALL', VRING_FD.SIZE, [0, 1], 'ack')
define('SET_VRING_ERR', VRING_FD.SIZE, [0, 1], 'ack')
define('GET_PROTOCOL_FEATURES', 0, 0, 'explicit')
define('SET_PROTOCOL_FEATURES', U64, 0, 'ack')
define('GET_QUEUE_NUM', 0, 0, 'explicit')
define('SET_VRING_ENABLE', VRING_STATE.SIZE, 0, 'ack')
define('SEND_RARP', U64, 0, 'ack', 'RARP')
define('NET_SET_MTU', U64, 0, 'ack', 'NET_MTU')
define('SET_BACKEND_REQ_FD', 0, 1, 'ack', 'BACKEND_REQ')
define('IOTLB_MSG', [IOTLB.TYPE + 1, IOTLB.SIZE], 0, 'explicit')
define('SET_VRING_ENDIAN', VRING_STATE.SIZE, 0, 'ack', 'CROSS_ENDIAN')
define('GET_CONFIG', CONFIG_BYTES, 0, 'explicit')
define('SET_CONFIG', CONFIG_BYTES, 0, 'ack')
define('CREATE_CRYPTO_SESSION', [0, MAX_REQUEST_PAYLOAD], 0, 'explicit', 'CRYPTO_SESSION')
define('CLOSE_CRYPTO_SESSION', U64, 0, 'ack', 'CRYPTO_SESSION')
define('POSTCOPY_ADVISE', 0, 0, 'explicit', 'PAGEFAULT')
define('POSTCOPY_LISTEN', 0, 0, 'ack', 'PAGEFAULT')
define('POSTCOPY_END', 0, 0, 'explicit', 'PAGEFAULT')
define('GET_INFLIGHT_FD', [INFLIGHT_DESCRIPTION.FIELDS, INFLIGHT_DESCRIPTION.SIZE], 0, 'explicit', 'INFLIGHT_SHMFD')
define('SET_INFLIGHT_FD', [INFLIGHT_DESCRIPTION.FIELDS, INFLIGHT_DESCRIPTION.SIZE], 1, 'ack', 'INFLIGHT_SHMFD')
define('GPU_SET_SOCKET', 0, 1, 'ack')
define('RESET_DEVICE', 0, 0, 'ack', 'RESET_DEVICE')
define('VRING_KICK', VRING_STATE.SIZE, 0, 'ack', 'INBAND_NOTIFICATIONS')
define('GET_MAX_MEM_SLOTS', 0, 0, 'explicit', 'CONFIGURE_MEM_SLOTS')
define('ADD_MEM_REG', SINGLE_REGION.SIZE, 1, 'ack', 'CONFIGURE_MEM_SLOTS')
define('REM_MEM_REG', SINGLE_REGION.SIZE, [0, 1], 'ack', 'CONFIGURE_MEM_SLOTS')
define('SET_STATUS', U64, 0, 'ack', 'STATUS')
define('GET_STATUS', 0, 0, 'explicit', 'STATUS')
define('GET_SHARED_OBJECT', SHARED_OBJECT.SIZE, 0, 'explicit', 'SHARED_OBJECT')
define('SET_DEVICE_STATE_FD', DEVICE_STATE.SIZE, 1, 'explicit', 'DEVICE_STATE')
define('CHECK_DEVICE_STATE', 0, 0, 'explicit', 'DEVICE_STATE')
define('GET_SHMEM_CONFIG', 0, 0, 'explicit', 'SHMEM')
define('GET_VRING_BASE_SKIP_DRAIN', VRING_STATE.SIZE, 0, 'explicit', 'GET_VRING_BASE_SKIP_DRAIN')

/** What is known of a request code, or undefined for a code that the protocol does not define. */
export function requestInfo(code: number): RequestInfo | undefined {
  return table[code]
}

/** The name of a request code, `request 77` when it has none. */
export function requestName(code: number): string {
  return table[code]?.name ?? `request ${code}`
}

/** All requests that are defined, in code order. */
export function definedRequests(): RequestInfo[] {
  return table.filter((info) => info !== undefined)
}
