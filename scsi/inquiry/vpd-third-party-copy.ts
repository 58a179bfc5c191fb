import { OPCODE, SERVICE_ACTION } from '../command.js'
import { COPY_LIMITS, DESCRIPTOR_TYPE } from '../third-party-copy/limits.js'

/** Descriptors of the Third-party Copy page (SPC-4 7.8.17). */
const TYPE = {
  SUPPORTED_COMMANDS: 0x0001,
  PARAMETER_DATA: 0x0004,
  SUPPORTED_DESCRIPTORS: 0x0008,
  GENERAL_COPY_OPERATIONS: 0x8001,
} as const

/** Content of the Third-party Copy page: what EXTENDED COPY(LID1) can do here. */
export function thirdPartyCopy(): Uint8Array {
  return Uint8Array.from([
    ...descriptor(TYPE.SUPPORTED_COMMANDS, listed(supportedCommands())),
    ...descriptor(TYPE.PARAMETER_DATA, parameterData()),
    ...descriptor(TYPE.SUPPORTED_DESCRIPTORS, listed([DESCRIPTOR_TYPE.BLOCK_TO_BLOCK, DESCRIPTOR_TYPE.IDENTIFICATION])),
    ...descriptor(TYPE.GENERAL_COPY_OPERATIONS, generalCopyOperations()),
  ])
}

/** Opcode, number of service actions, and these, of each command. */
function supportedCommands(): number[] {
  const receive = [
    SERVICE_ACTION.RECEIVE_COPY_STATUS,
    SERVICE_ACTION.RECEIVE_COPY_OPERATING_PARAMETERS,
    SERVICE_ACTION.RECEIVE_COPY_FAILURE_DETAILS,
  ]
  return [
    ...[OPCODE.THIRD_PARTY_COPY_OUT, 1, SERVICE_ACTION.EXTENDED_COPY_LID1],
    ...[OPCODE.THIRD_PARTY_COPY_IN, receive.length, ...receive],
  ]
}

/** Parameter Data descriptor (SPC-4 7.8.17.7). */
function parameterData(): number[] {
  return [
    ...u32(0),
    ...u16(COPY_LIMITS.CSCD_DESCRIPTORS),
    ...u16(COPY_LIMITS.SEGMENT_DESCRIPTORS),
    ...u32(COPY_LIMITS.DESCRIPTOR_LIST_BYTES),
    ...u32(COPY_LIMITS.INLINE_BYTES),
    ...new Array<number>(12).fill(0),
  ]
}

/** General Copy Operations descriptor (SPC-4 7.8.17.12). */
function generalCopyOperations(): number[] {
  return [
    ...u32(COPY_LIMITS.CONCURRENT),
    ...u32(COPY_LIMITS.CONCURRENT),
    ...u32(COPY_LIMITS.SEGMENT_BYTES),
    ...[COPY_LIMITS.GRANULARITY, 0],
    ...new Array<number>(18).fill(0),
  ]
}

/** With the length before it. */
function listed(bytes: readonly number[]): number[] {
  return [bytes.length, ...bytes]
}

/** Each is padded to a multiple of four bytes. */
function descriptor(type: number, content: readonly number[]): number[] {
  const padding = new Array<number>(-content.length & 3).fill(0)
  return [...u16(type), ...u16(content.length + padding.length), ...content, ...padding]
}

function u16(value: number): number[] {
  return [value >>> 8, value & 0xff]
}

function u32(value: number): number[] {
  return [...u16(value >>> 16), ...u16(value & 0xffff)]
}
