import type { Message } from './message.js'
import { DEVICE_STATE_REPLY } from './messages/migration.js'
import { encodeShmemConfig, SHMEM_CONFIG } from './messages/sharing.js'
import { FRONT_END_REQUEST } from './requests.js'
import { u64Payload } from './u64.js'

/** The acknowledgement of a request that was refused. Any value but 0 would do. */
export const NACK = 1

const EMPTY: (message: Message) => Uint8Array = () => new Uint8Array(0)
const ERROR: (message: Message) => Uint8Array = () => u64Payload(NACK)

/** Requests whose own reply has a form that says no. */
const FAILING_REPLIES: Readonly<Record<number, (message: Message) => Uint8Array>> = {
  [FRONT_END_REQUEST.GET_CONFIG]: EMPTY,
  [FRONT_END_REQUEST.IOTLB_MSG]: ERROR,
  [FRONT_END_REQUEST.POSTCOPY_ADVISE]: EMPTY,
  [FRONT_END_REQUEST.POSTCOPY_END]: ERROR,
  // No bytes to map, and no descriptor: QEMU goes on without a buffer.
  [FRONT_END_REQUEST.GET_INFLIGHT_FD]: (message) => new Uint8Array(message.bytes.length),
  [FRONT_END_REQUEST.GET_MAX_MEM_SLOTS]: () => u64Payload(0),
  // The object comes back without a descriptor.
  [FRONT_END_REQUEST.GET_SHARED_OBJECT]: (message) => message.bytes.slice(),
  [FRONT_END_REQUEST.SET_DEVICE_STATE_FD]: () => u64Payload(DEVICE_STATE_REPLY.NO_FD | NACK),
  [FRONT_END_REQUEST.CHECK_DEVICE_STATE]: ERROR,
  [FRONT_END_REQUEST.GET_SHMEM_CONFIG]: () => {
    const reply = new Uint8Array(SHMEM_CONFIG.SIZE)
    encodeShmemConfig(new DataView(reply.buffer), 0, [])
    return reply
  },
}

/** Requests that a front end can do without: refused in silence, the connection goes on. */
const DISPENSABLE: ReadonlySet<number> = new Set([
  FRONT_END_REQUEST.SET_LOG_FD,
  FRONT_END_REQUEST.SEND_RARP,
  FRONT_END_REQUEST.NET_SET_MTU,
  FRONT_END_REQUEST.SET_BACKEND_REQ_FD,
  FRONT_END_REQUEST.SET_CONFIG,
  FRONT_END_REQUEST.SET_STATUS,
])

/** Requests that make no difference to a front end which was told that they are not served. */
const IDLE_UNLESS_NEGOTIATED: ReadonlySet<number> = new Set([FRONT_END_REQUEST.SET_INFLIGHT_FD])

/** The payload of a reply that refuses the request, or undefined when its reply has no such form (or it has no reply). */
export function failingReply(message: Message): Uint8Array | undefined {
  return FAILING_REPLIES[message.request]?.(message)
}

/**
 * Whether the connection can go on after this request was not carried out and the front end does not know it.
 * @param code why it was refused
 */
export function isDispensable(request: number, code: string): boolean {
  return DISPENSABLE.has(request) || (code === 'VUS_NOT_NEGOTIATED' && IDLE_UNLESS_NEGOTIATED.has(request))
}
