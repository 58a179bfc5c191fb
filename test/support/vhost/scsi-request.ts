import {
  AN_REQUEST,
  CDB_SIZE,
  type ChainSegment,
  CMD_REQUEST,
  CMD_RESPONSE,
  CONTROL_TYPE,
  type DriverAllocation,
  encodeLun,
  SENSE_SIZE,
  TMF_REQUEST,
} from 'vhost-user-protocol-ts'
import { bytesOf } from './arena.js'

/** One SCSI command as a test states it. */
export interface ScsiCommand {
  readonly cdb: ArrayLike<number>
  readonly target?: number
  readonly lun?: number
  /** The eight bytes of the LUN field, in place of `target` and `lun`. */
  readonly lunField?: ArrayLike<number>
  readonly tag?: number
  readonly taskAttribute?: number
  /** Data for the device. */
  readonly dataOut?: Uint8Array
  /** Bytes of room for data from the device. */
  readonly dataIn?: number
  /** Cuts the data buffer into descriptors of these lengths; the last takes what is left. Default: one. */
  readonly split?: readonly number[]
}

/** A command's answer (virtio 1.3 5.6.6.1). `data` is the whole data-in buffer, `usedLength` the device's used.len. */
export interface ScsiResult {
  readonly response: number
  readonly status: number
  readonly statusQualifier: number
  readonly residual: number
  readonly sense: Uint8Array
  readonly data: Uint8Array
  readonly usedLength: number
}

const BYTE_THAT_NO_DEVICE_WRITES = 0xee

/** Writes struct virtio_scsi_req_cmd's readable part (virtio 1.3 5.6.6.1). */
export function writeCommand(into: Uint8Array, command: ScsiCommand, tag: number): void {
  const view = new DataView(into.buffer, into.byteOffset, into.byteLength)
  if (command.lunField !== undefined) into.set(command.lunField, CMD_REQUEST.LUN)
  else encodeLun(into, CMD_REQUEST.LUN, command.target ?? 0, command.lun ?? 0)
  view.setBigUint64(CMD_REQUEST.TAG, BigInt(tag), true)
  view.setUint8(CMD_REQUEST.TASK_ATTR, command.taskAttribute ?? 0)
  if (command.cdb.length > CDB_SIZE) throw new RangeError(`a CDB of ${command.cdb.length} bytes`)
  into.set(command.cdb, CMD_REQUEST.CDB)
}

/** Makes a response recognisable as not written. */
export function poisonResponse(bytes: Uint8Array): void {
  bytes.fill(BYTE_THAT_NO_DEVICE_WRITES)
}

/** Reads struct virtio_scsi_req_cmd's writable part, copied out of guest memory. */
export function readResult(response: Uint8Array, data: Uint8Array, usedLength: number): ScsiResult {
  const view = new DataView(response.buffer, response.byteOffset, response.byteLength)
  const senseLength = Math.min(view.getUint32(CMD_RESPONSE.SENSE_LEN, true), SENSE_SIZE)
  return {
    response: view.getUint8(CMD_RESPONSE.RESPONSE),
    status: view.getUint8(CMD_RESPONSE.STATUS),
    statusQualifier: view.getUint16(CMD_RESPONSE.STATUS_QUALIFIER, true),
    residual: view.getUint32(CMD_RESPONSE.RESIDUAL, true),
    sense: response.slice(CMD_RESPONSE.SENSE, CMD_RESPONSE.SENSE + senseLength),
    data: data.slice(),
    usedLength,
  }
}

/** struct virtio_scsi_ctrl_tmf's readable part (virtio 1.3 5.6.6.2). */
export function writeTmf(into: Uint8Array, subtype: number, target: number, lun: number, tag: number): void {
  const view = new DataView(into.buffer, into.byteOffset, into.byteLength)
  view.setUint32(TMF_REQUEST.TYPE, CONTROL_TYPE.TMF, true)
  view.setUint32(TMF_REQUEST.SUBTYPE, subtype, true)
  encodeLun(into, TMF_REQUEST.LUN, target, lun)
  view.setBigUint64(TMF_REQUEST.TAG, BigInt(tag), true)
}

/** struct virtio_scsi_ctrl_an's readable part (virtio 1.3 5.6.6.2). */
export function writeAsyncNotification(
  into: Uint8Array,
  type: number,
  target: number,
  lun: number,
  events: number,
): void {
  const view = new DataView(into.buffer, into.byteOffset, into.byteLength)
  view.setUint32(AN_REQUEST.TYPE, type, true)
  encodeLun(into, AN_REQUEST.LUN, target, lun)
  view.setUint32(AN_REQUEST.EVENT_REQUESTED, events, true)
}

/** The segments of a buffer cut at `split`. */
export function cut(piece: DriverAllocation, writable: boolean, split: readonly number[] = []): ChainSegment[] {
  const segments: ChainSegment[] = []
  let at = 0
  for (const length of split) {
    if (at + length > piece.length) throw new RangeError(`cuts ${split} of ${piece.length} bytes`)
    segments.push({ address: piece.address + at, length, writable })
    at += length
  }
  if (at < piece.length) segments.push({ address: piece.address + at, length: piece.length - at, writable })
  return segments
}

/** A copy of what an allocation holds. */
export function copyOf(piece: DriverAllocation): Uint8Array {
  return bytesOf(piece).slice()
}
