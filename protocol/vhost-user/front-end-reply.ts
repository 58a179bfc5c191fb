import { close } from 'memfd-mmap'
import type { InflightBuffer } from './backend-device.js'
import { NackError, ProtocolError } from './errors.js'
import { decodeInflight, INFLIGHT_DESCRIPTION } from './messages/migration.js'
import { requestName } from './requests.js'
import { readMask } from './u64.js'

/** What a back end answered. The caller owns the descriptors. */
export interface Reply {
  bytes: Uint8Array
  view: DataView
  fds: number[]
}

const U64_BYTES = 8

/** Closes descriptors of a reply. */
export function closeAll(fds: readonly number[]): void {
  for (const fd of fds) close(fd)
}

/**
 * The payload of a reply that must have this size. Descriptors are not wanted, and closed.
 * @throws {ProtocolError} VUS_BAD_REPLY
 */
export function plainReply(request: number, reply: Reply, size: number): DataView {
  closeAll(reply.fds)
  if (reply.bytes.length !== size) {
    throw new ProtocolError('VUS_BAD_REPLY', `${requestName(request)} answered with ${reply.bytes.length} bytes`)
  }
  return reply.view
}

/**
 * The reply is an acknowledgement.
 * @throws {NackError} when it is a negative one @throws {ProtocolError} VUS_BAD_REPLY
 */
export function acknowledged(request: number, reply: Reply): void {
  const value = readMask(plainReply(request, reply, U64_BYTES), 0)
  if (value !== 0n) throw new NackError(request, requestName(request), value)
}

/**
 * What GET_INFLIGHT_FD brought; undefined when there is no buffer. On a throw the descriptors are closed.
 * @throws {ProtocolError} VUS_BAD_REPLY, VUS_NUMBER_RANGE
 */
export function inflightBuffer(reply: Reply): InflightBuffer | undefined {
  const { bytes, view, fds } = reply
  try {
    if (bytes.length !== INFLIGHT_DESCRIPTION.SIZE) {
      throw new ProtocolError('VUS_BAD_REPLY', `an inflight buffer in ${bytes.length} bytes`)
    }
    const { mmapSize: size, mmapOffset: offset, numQueues: queues, queueSize } = decodeInflight(view, 0)
    const [fd] = fds
    if (fds.length !== (size > 0 ? 1 : 0)) {
      throw new ProtocolError('VUS_BAD_REPLY', `an inflight buffer of ${size} bytes with ${fds.length} descriptors`)
    }
    return fd === undefined ? undefined : { fd, size, offset, queues, queueSize }
  } catch (error) {
    closeAll(fds)
    throw error
  }
}
