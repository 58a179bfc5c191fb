import { ProtocolError, RefusedError } from '../errors.js'
import type { Message } from '../message.js'
import {
  decodeInflight,
  decodeLog,
  encodeInflight,
  INFLIGHT_DESCRIPTION,
  type InflightDescription,
  LOG_DESCRIPTION,
} from '../messages/migration.js'
import { FRONT_END_REQUEST } from '../requests.js'
import type { RequestHandler, SessionState } from '../session-state.js'
import { U64_LIMIT, u64Payload } from '../u64.js'
import { MAX_RING_SIZE } from '../vring.js'

// These run only when the feature was negotiated, so the device has the capability.

/** A mapping of it would begin at 0 and go up to the end of it, below 2^53. */
const mappable = (size: number, offset: number): boolean => size > 0 && size <= U64_LIMIT - offset

// Answered in any case: QEMU waits for a reply with this request code, whatever it says. A log that is refused therefore ends the
// connection unless an acknowledgement was asked for: the migration would go on, and lose what is not logged.
const setLogBase: RequestHandler = async ({ device, report }, message) => {
  if (message.bytes.length !== LOG_DESCRIPTION.SIZE) {
    throw new ProtocolError('VUS_PAYLOAD_SIZE', `SET_LOG_BASE with ${message.bytes.length} bytes`)
  }
  const fd = message.fds[0]
  if (fd === undefined) throw new ProtocolError('VUS_FD_COUNT', 'SET_LOG_BASE with 0')
  const { mmapSize: size, mmapOffset: offset } = decodeLog(message.view, 0)
  if (!mappable(size, offset)) throw new RefusedError('VUS_LOG_SIZE', `${size} bytes at ${offset}`)
  await device.dirtyLog!.setLog({ fd, size, offset })
  report.event('debug', 'VUS_LOG', `the dirty log has ${size} bytes`, { bytes: size })
  return u64Payload(0)
}

/** @throws {RefusedError} VUS_INFLIGHT_SIZE */
function checkQueues({ device }: SessionState, { numQueues, queueSize }: InflightDescription): void {
  if (numQueues > 0 && numQueues <= device.ringCount && queueSize > 0 && queueSize <= MAX_RING_SIZE) return
  throw new RefusedError('VUS_INFLIGHT_SIZE', `${numQueues} queues of ${queueSize} entries`)
}

// As long as the request: QEMU sends its structure with 4 bytes of padding and takes no reply without, and who sends only the
// fields would take the padding for the next message.
function inflightPayload(message: Message, description: InflightDescription): Uint8Array {
  const payload = new Uint8Array(INFLIGHT_DESCRIPTION.SIZE)
  encodeInflight(new DataView(payload.buffer), 0, description)
  return payload.subarray(0, message.bytes.length)
}

const getInflightFd: RequestHandler = (state, message) => {
  const wanted = decodeInflight(message.view, 0)
  checkQueues(state, wanted)
  const { numQueues, queueSize } = wanted
  const { fd, size, offset } = state.device.inflight!.create(numQueues, queueSize)
  return { payload: inflightPayload(message, { mmapSize: size, mmapOffset: offset, numQueues, queueSize }), fd }
}

const setInflightFd: RequestHandler = async (state, message) => {
  const description = decodeInflight(message.view, 0)
  checkQueues(state, description)
  const { mmapSize: size, mmapOffset: offset, numQueues: queues, queueSize } = description
  if (!mappable(size, offset)) throw new RefusedError('VUS_INFLIGHT_SIZE', `${size} bytes at ${offset}`)
  await state.device.inflight!.set({ fd: message.fds[0]!, size, offset, queues, queueSize })
  state.report.event('debug', 'VUS_INFLIGHT', `an inflight buffer of ${size} bytes for ${queues} rings`, {
    bytes: size,
    rings: queues,
  })
  return undefined
}

export const migrationHandlers: Readonly<Record<number, RequestHandler>> = {
  [FRONT_END_REQUEST.SET_LOG_BASE]: setLogBase,
  [FRONT_END_REQUEST.GET_INFLIGHT_FD]: getInflightFd,
  [FRONT_END_REQUEST.SET_INFLIGHT_FD]: setInflightFd,
}
