/**
 * The structures of the virtio SCSI host device (virtio 1.3 5.6.6). All fields are little endian; the CDB inside is
 * big endian by its own standard. Offsets in bytes.
 *
 * A front end (QEMU) fixes `cdb_size` at 32 and `sense_size` at 96: a guest that asks for others is refused there.
 */

export const CDB_SIZE = 32
export const SENSE_SIZE = 96

/** Virtqueue numbers (virtio 1.3 5.6.2). */
export const VQ = { CONTROL: 0, EVENT: 1, REQUEST: 2 } as const

/** struct virtio_scsi_req_cmd, device-readable part (virtio 1.3 5.6.6.1). */
export const CMD_REQUEST = { LUN: 0, TAG: 8, TASK_ATTR: 16, PRIO: 17, CRN: 18, CDB: 19, SIZE: 51 } as const

/** struct virtio_scsi_req_cmd, device-writable part (virtio 1.3 5.6.6.1). */
export const CMD_RESPONSE = {
  SENSE_LEN: 0,
  RESIDUAL: 4,
  STATUS_QUALIFIER: 8,
  STATUS: 10,
  RESPONSE: 11,
  SENSE: 12,
  SIZE: 108,
} as const

/** `response` codes of commands and control requests (virtio 1.3 5.6.6.1, 5.6.6.2). */
export const RESPONSE = {
  OK: 0,
  OVERRUN: 1,
  ABORTED: 2,
  BAD_TARGET: 3,
  RESET: 4,
  BUSY: 5,
  TRANSPORT_FAILURE: 6,
  TARGET_FAILURE: 7,
  NEXUS_FAILURE: 8,
  FAILURE: 9,
  FUNCTION_SUCCEEDED: 10,
  FUNCTION_REJECTED: 11,
  INCORRECT_LUN: 12,
} as const

/** `task_attr` (virtio 1.3 5.6.6.1). */
export const TASK_ATTR = { SIMPLE: 0, ORDERED: 1, HEAD: 2, ACA: 3 } as const

/** Control queue request types (virtio 1.3 5.6.6.2). */
export const CONTROL_TYPE = { TMF: 0, AN_QUERY: 1, AN_SUBSCRIBE: 2 } as const

/** struct virtio_scsi_ctrl_tmf: 24 bytes read, one byte (the response) written (virtio 1.3 5.6.6.2). */
export const TMF_REQUEST = { TYPE: 0, SUBTYPE: 4, LUN: 8, TAG: 16, SIZE: 24 } as const
export const TMF_RESPONSE = { RESPONSE: 0, SIZE: 1 } as const

/** Task management functions (virtio 1.3 5.6.6.2). */
export const TMF = {
  ABORT_TASK: 0,
  ABORT_TASK_SET: 1,
  CLEAR_ACA: 2,
  CLEAR_TASK_SET: 3,
  I_T_NEXUS_RESET: 4,
  LOGICAL_UNIT_RESET: 5,
  QUERY_TASK: 6,
  QUERY_TASK_SET: 7,
} as const

/** struct virtio_scsi_ctrl_an: 16 bytes read (4 + 8 + 4), 5 written (virtio 1.3 5.6.6.2). */
export const AN_REQUEST = { TYPE: 0, LUN: 4, EVENT_REQUESTED: 12, SIZE: 16 } as const
export const AN_RESPONSE = { EVENT_ACTUAL: 0, RESPONSE: 4, SIZE: 5 } as const

/** struct virtio_scsi_event (virtio 1.3 5.6.6.3). */
export const EVENT = { EVENT: 0, LUN: 4, REASON: 12, SIZE: 16 } as const
export const EVENT_TYPE = { NO_EVENT: 0, TRANSPORT_RESET: 1, ASYNC_NOTIFY: 2, PARAM_CHANGE: 3 } as const
export const EVENTS_MISSED = 0x80000000
export const EVENT_RESET_REASON = { HARD: 0, RESCAN: 1, REMOVED: 2 } as const

/** struct virtio_scsi_config (virtio 1.3 5.6.4), for front ends that ask the back end for it. */
export const CONFIG = {
  NUM_QUEUES: 0,
  SEG_MAX: 4,
  MAX_SECTORS: 8,
  CMD_PER_LUN: 12,
  EVENT_INFO_SIZE: 16,
  SENSE_SIZE: 20,
  CDB_SIZE: 24,
  MAX_CHANNEL: 28,
  MAX_TARGET: 30,
  MAX_LUN: 32,
  SIZE: 36,
} as const

/** REPORT LUNS well-known logical unit, `C1 01` in bytes 0 and 1 (virtio 1.3 5.6.6.1). */
export const WLUN_REPORT_LUNS = 0xc101

/** What `decodeLun` answers: a LUN number of 0..16383, WLUN_REPORT_LUNS, or LUN_INVALID. */
export const LUN_INVALID = -1

/**
 * The LUN number in the 8-byte LUN field whose first four bytes are `b0`..`b3` (virtio 1.3 5.6.6.1). Byte 0 is 1, byte
 * 1 the target; bytes 2 and 3 a single-level LUN, which initiators write in peripheral form (00 LL, SPDK) or flat form
 * (40|hi lo, Linux, SeaBIOS). LUN_INVALID for any other.
 */
export function decodeLun(b0: number, b1: number, b2: number, b3: number): number {
  if (b0 === 1) {
    if (b2 === 0) return b3
    if ((b2 & 0xc0) === 0x40) return ((b2 & 0x3f) << 8) | b3
    return LUN_INVALID
  }
  return b0 === 0xc1 && b1 === 0x01 ? WLUN_REPORT_LUNS : LUN_INVALID
}

/** Writes the 8-byte LUN field of `target` and `lun` (0..16383, or WLUN_REPORT_LUNS) in the flat form. */
export function encodeLun(bytes: Uint8Array, offset: number, target: number, lun: number): void {
  bytes.fill(0, offset, offset + 8)
  if (lun === WLUN_REPORT_LUNS) {
    bytes[offset] = 0xc1
    bytes[offset + 1] = 0x01
    return
  }
  bytes[offset] = 1
  bytes[offset + 1] = target
  bytes[offset + 2] = 0x40 | (lun >>> 8)
  bytes[offset + 3] = lun & 0xff
}
