import { BackendChannel } from '../backend-channel.js'
import { ProtocolError, RefusedError } from '../errors.js'
import { CONFIG_ACCESS, decodeConfigAccess, encodeConfigAccess } from '../messages/config.js'
import { FRONT_END_REQUEST } from '../requests.js'
import { allSettled, type RequestHandler, type SessionState } from '../session-state.js'
import { readMask, u64Payload } from '../u64.js'

/** The status register has 8 bits (virtio 1.3 2.1). */
const STATUS_MASK = 0xffn

const setOwner: RequestHandler = () => undefined

// Deprecated. Of the two readings that the specification allows: all rings are disabled.
const resetOwner: RequestHandler = async (state) => {
  await allSettled(state.rings.map((ring) => ring.setEnabled(false)))
  return undefined
}

async function reset(state: SessionState): Promise<undefined> {
  await allSettled(state.rings.map((ring) => ring.reset()))
  await state.device.reset()
  state.status = 0
  state.report.event('debug', 'VUS_RESET', 'the device was reset')
  return undefined
}

// Without a config space the answer is an empty payload, which tells the front end so.
const getConfig: RequestHandler = (state, message) => {
  const access = decodeConfigAccess(message.view, 0)
  const bytes = state.device.readConfig(access.offset, access.size)
  return bytes === undefined ? new Uint8Array(0) : encodeConfigAccess(access, bytes)
}

const setConfig: RequestHandler = (state, message) => {
  const access = decodeConfigAccess(message.view, 0)
  const end = CONFIG_ACCESS.DATA + access.size
  if (end > message.bytes.length) {
    throw new ProtocolError('VUS_PAYLOAD_SIZE', `${access.size} config bytes in ${message.bytes.length}`)
  }
  if (!state.device.writeConfig(access.offset, message.bytes.slice(CONFIG_ACCESS.DATA, end))) {
    throw new RefusedError('VUS_CONFIG_REFUSED', `${access.size} bytes at ${access.offset}`)
  }
  return undefined
}

const setStatus: RequestHandler = async (state, message) => {
  const status = Number(readMask(message.view, 0) & STATUS_MASK)
  if (status === 0) await reset(state)
  state.status = status
  return undefined
}

// The channel before ends when there is a new one, not when there is none after all.
const setBackendReqFd: RequestHandler = (state, message) => {
  const channel = new BackendChannel(message.fds[0]!, state.report)
  message.takeFd(0)
  state.channel?.close()
  state.channel = channel
  state.report.event('debug', 'VUS_CHANNEL', 'the front end takes requests of the back end, of which there are none')
  return undefined
}

const getStatus: RequestHandler = (state) => u64Payload(state.status)

export const deviceHandlers: Readonly<Record<number, RequestHandler>> = {
  [FRONT_END_REQUEST.SET_OWNER]: setOwner,
  [FRONT_END_REQUEST.RESET_OWNER]: resetOwner,
  [FRONT_END_REQUEST.RESET_DEVICE]: reset,
  [FRONT_END_REQUEST.GET_CONFIG]: getConfig,
  [FRONT_END_REQUEST.SET_CONFIG]: setConfig,
  [FRONT_END_REQUEST.SET_STATUS]: setStatus,
  [FRONT_END_REQUEST.GET_STATUS]: getStatus,
  [FRONT_END_REQUEST.SET_BACKEND_REQ_FD]: setBackendReqFd,
}
