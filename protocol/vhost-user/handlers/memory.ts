import { ProtocolError } from '../errors.js'
import { decodeMemoryTable, decodeSingleRegion } from '../messages/memory.js'
import { FRONT_END_REQUEST } from '../requests.js'
import type { RequestHandler, SessionState } from '../session-state.js'
import { u64Payload } from '../u64.js'

function reportMemory({ memory, report }: SessionState): void {
  const bytes = memory.regions.reduce((sum, region) => sum + region.size, 0)
  const count = memory.regions.length
  report.event('debug', 'VUS_MEMORY', `${count} memory regions, ${bytes} bytes`, { regions: count, bytes })
}

const setMemTable: RequestHandler = async (state, message) => {
  const regions = decodeMemoryTable(message.view, 0, message.bytes.length)
  if (message.fds.length !== regions.length) {
    throw new ProtocolError('VUS_FD_COUNT', `${message.fds.length} for ${regions.length} memory regions`)
  }
  state.memory.checkAll(regions)
  await state.device.setMemory(regions, [...message.fds])
  state.memory.replace(regions)
  reportMemory(state)
  return undefined
}

const getMaxMemSlots: RequestHandler = ({ device }) => u64Payload(device.maxMemorySlots)

const addMemReg: RequestHandler = async (state, message) => {
  const region = decodeSingleRegion(message.view, 0)
  state.memory.checkAdd(region)
  await state.device.addMemory(region, message.fds[0]!)
  state.memory.add(region)
  reportMemory(state)
  return undefined
}

// A descriptor that comes along is closed unused: some front ends send one by mistake.
const remMemReg: RequestHandler = async (state, message) => {
  const region = state.memory.find(decodeSingleRegion(message.view, 0))
  await state.device.removeMemory(region)
  state.memory.remove(region)
  reportMemory(state)
  return undefined
}

export const memoryHandlers: Readonly<Record<number, RequestHandler>> = {
  [FRONT_END_REQUEST.SET_MEM_TABLE]: setMemTable,
  [FRONT_END_REQUEST.GET_MAX_MEM_SLOTS]: getMaxMemSlots,
  [FRONT_END_REQUEST.ADD_MEM_REG]: addMemReg,
  [FRONT_END_REQUEST.REM_MEM_REG]: remMemReg,
}
