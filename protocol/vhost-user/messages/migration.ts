import { HOST_LITTLE_ENDIAN, readU64, writeU64 } from '../u64.js'

/** Log description (SET_LOG_BASE): u64 size of the bitmap, u64 offset in its descriptor. */
export const LOG_DESCRIPTION = { MMAP_SIZE: 0, MMAP_OFFSET: 8, SIZE: 16 } as const

/** Inflight description. Its fields end at 20; QEMU's structure, and so its messages, have 24 bytes and must be answered so. */
export const INFLIGHT_DESCRIPTION = {
  MMAP_SIZE: 0,
  MMAP_OFFSET: 8,
  NUM_QUEUES: 16,
  QUEUE_SIZE: 18,
  FIELDS: 20,
  SIZE: 24,
} as const

/** Device state transfer parameters (SET_DEVICE_STATE_FD): u32 direction, u32 phase. */
export const DEVICE_STATE = { DIRECTION: 0, PHASE: 4, SIZE: 8 } as const
export const DEVICE_STATE_DIRECTION = { SAVE: 0, LOAD: 1 } as const
export const DEVICE_STATE_PHASE = { STOPPED: 0 } as const

/** The reply to SET_DEVICE_STATE_FD: an error in bits 0-7, bit 8 when no descriptor comes back. */
export const DEVICE_STATE_REPLY = { ERROR_MASK: 0xff, NO_FD: 0x100 } as const

export interface LogDescription {
  mmapSize: number
  mmapOffset: number
}

export interface InflightDescription {
  mmapSize: number
  mmapOffset: number
  numQueues: number
  queueSize: number
}

export interface DeviceStateTransfer {
  direction: number
  phase: number
}

/** @throws {ProtocolError} VUS_NUMBER_RANGE */
export function decodeLog(view: DataView, offset: number): LogDescription {
  return {
    mmapSize: readU64(view, offset + LOG_DESCRIPTION.MMAP_SIZE),
    mmapOffset: readU64(view, offset + LOG_DESCRIPTION.MMAP_OFFSET),
  }
}

export function encodeLog(view: DataView, offset: number, log: LogDescription): void {
  writeU64(view, offset + LOG_DESCRIPTION.MMAP_SIZE, log.mmapSize)
  writeU64(view, offset + LOG_DESCRIPTION.MMAP_OFFSET, log.mmapOffset)
}

/** Reads INFLIGHT_DESCRIPTION.FIELDS bytes. @throws {ProtocolError} VUS_NUMBER_RANGE */
export function decodeInflight(view: DataView, offset: number): InflightDescription {
  return {
    mmapSize: readU64(view, offset + INFLIGHT_DESCRIPTION.MMAP_SIZE),
    mmapOffset: readU64(view, offset + INFLIGHT_DESCRIPTION.MMAP_OFFSET),
    numQueues: view.getUint16(offset + INFLIGHT_DESCRIPTION.NUM_QUEUES, HOST_LITTLE_ENDIAN),
    queueSize: view.getUint16(offset + INFLIGHT_DESCRIPTION.QUEUE_SIZE, HOST_LITTLE_ENDIAN),
  }
}

/** Writes INFLIGHT_DESCRIPTION.SIZE bytes, the padding as zeros. */
export function encodeInflight(view: DataView, offset: number, inflight: InflightDescription): void {
  writeU64(view, offset + INFLIGHT_DESCRIPTION.MMAP_SIZE, inflight.mmapSize)
  writeU64(view, offset + INFLIGHT_DESCRIPTION.MMAP_OFFSET, inflight.mmapOffset)
  view.setUint16(offset + INFLIGHT_DESCRIPTION.NUM_QUEUES, inflight.numQueues, HOST_LITTLE_ENDIAN)
  view.setUint16(offset + INFLIGHT_DESCRIPTION.QUEUE_SIZE, inflight.queueSize, HOST_LITTLE_ENDIAN)
  view.setUint32(offset + INFLIGHT_DESCRIPTION.FIELDS, 0, HOST_LITTLE_ENDIAN)
}

export function decodeDeviceState(view: DataView, offset: number): DeviceStateTransfer {
  return {
    direction: view.getUint32(offset + DEVICE_STATE.DIRECTION, HOST_LITTLE_ENDIAN),
    phase: view.getUint32(offset + DEVICE_STATE.PHASE, HOST_LITTLE_ENDIAN),
  }
}

export function encodeDeviceState(view: DataView, offset: number, transfer: DeviceStateTransfer): void {
  view.setUint32(offset + DEVICE_STATE.DIRECTION, transfer.direction, HOST_LITTLE_ENDIAN)
  view.setUint32(offset + DEVICE_STATE.PHASE, transfer.phase, HOST_LITTLE_ENDIAN)
}
