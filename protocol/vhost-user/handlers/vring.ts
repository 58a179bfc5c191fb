import { ProtocolError } from '../errors.js'
import type { Message } from '../message.js'
import {
  decodeVringAddress,
  decodeVringFd,
  decodeVringState,
  encodeVringState,
  VRING_STATE,
} from '../messages/vring.js'
import { FRONT_END_REQUEST } from '../requests.js'
import type { RequestHandler, SessionState } from '../session-state.js'
import type { Vring } from '../vring.js'

const setVringNum: RequestHandler = (state, message) => {
  const { index, num } = decodeVringState(message.view, 0)
  state.ring(index).setSize(num)
  return undefined
}

const setVringBase: RequestHandler = (state, message) => {
  const { index, num } = decodeVringState(message.view, 0)
  state.ring(index).setBase(num)
  return undefined
}

const setVringAddr: RequestHandler = async (state, message) => {
  const address = decodeVringAddress(message.view, 0)
  await state.ring(address.index).setAddress(address)
  return undefined
}

const getVringBase: RequestHandler = async (state, message) => {
  const { index } = decodeVringState(message.view, 0)
  const num = await state.ring(index).stop()
  const reply = new Uint8Array(VRING_STATE.SIZE)
  encodeVringState(new DataView(reply.buffer), 0, { index, num })
  return reply
}

// Also before PROTOCOL_FEATURES was accepted: SPDK's front end and libvhost-user are as liberal.
const setVringEnable: RequestHandler = async (state, message) => {
  const { index, num } = decodeVringState(message.view, 0)
  if (num > 1) throw new ProtocolError('VUS_BAD_PAYLOAD', `ring ${index} enabled with ${num}`)
  await state.ring(index).setEnabled(num === 1)
  return undefined
}

/** The ring and the descriptor (-1: none) that a kick, call or error message is about. */
function ringAndFd(state: SessionState, message: Message): { ring: Vring; fd: number } {
  const { index, hasFd } = decodeVringFd(message.view, 0)
  if (message.fds.length !== (hasFd ? 1 : 0)) {
    throw new ProtocolError('VUS_FD_COUNT', `${message.fds.length} where the message announces ${hasFd ? 1 : 0}`)
  }
  return { ring: state.ring(index), fd: message.takeFd(0) }
}

const setVringKick: RequestHandler = async (state, message) => {
  const { ring, fd } = ringAndFd(state, message)
  await ring.setKick(fd)
  return undefined
}

const setVringCall: RequestHandler = async (state, message) => {
  const { ring, fd } = ringAndFd(state, message)
  await ring.setCall(fd)
  return undefined
}

const setVringErr: RequestHandler = async (state, message) => {
  const { ring, fd } = ringAndFd(state, message)
  await ring.setErr(fd)
  return undefined
}

export const vringHandlers: Readonly<Record<number, RequestHandler>> = {
  [FRONT_END_REQUEST.SET_VRING_NUM]: setVringNum,
  [FRONT_END_REQUEST.SET_VRING_ADDR]: setVringAddr,
  [FRONT_END_REQUEST.SET_VRING_BASE]: setVringBase,
  [FRONT_END_REQUEST.GET_VRING_BASE]: getVringBase,
  [FRONT_END_REQUEST.SET_VRING_KICK]: setVringKick,
  [FRONT_END_REQUEST.SET_VRING_CALL]: setVringCall,
  [FRONT_END_REQUEST.SET_VRING_ERR]: setVringErr,
  [FRONT_END_REQUEST.SET_VRING_ENABLE]: setVringEnable,
}
