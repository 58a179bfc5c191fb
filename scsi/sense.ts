/** A sense key, additional sense code and qualifier as one number: key << 16 | asc << 8 | ascq. */
export type SenseCode = number

/** Sense keys (SPC-4 4.5.6, table "Sense key descriptions"). */
export const SENSE_KEY = {
  NO_SENSE: 0x0,
  RECOVERED_ERROR: 0x1,
  NOT_READY: 0x2,
  MEDIUM_ERROR: 0x3,
  HARDWARE_ERROR: 0x4,
  ILLEGAL_REQUEST: 0x5,
  UNIT_ATTENTION: 0x6,
  DATA_PROTECT: 0x7,
  COPY_ABORTED: 0xa,
  ABORTED_COMMAND: 0xb,
  MISCOMPARE: 0xe,
} as const

/** Sense codes by the names of SPC-4 annex D (ASC and ASCQ assignments). */
export const SENSE = {
  NO_SENSE: 0x000000,
  LOGICAL_UNIT_NOT_READY: 0x020400,
  LOGICAL_UNIT_NOT_READY_INITIALIZING_COMMAND_REQUIRED: 0x020402,
  LOGICAL_UNIT_NOT_READY_MANUAL_INTERVENTION_REQUIRED: 0x020403,
  LOGICAL_UNIT_NOT_READY_FORMAT_IN_PROGRESS: 0x020404,
  LOGICAL_UNIT_NOT_READY_SANITIZE_IN_PROGRESS: 0x02041b,
  MEDIUM_NOT_PRESENT: 0x023a00,
  WRITE_ERROR: 0x030c00,
  UNRECOVERED_READ_ERROR: 0x031100,
  MEDIUM_FORMAT_CORRUPTED: 0x033100,
  FORMAT_COMMAND_FAILED: 0x033101,
  SANITIZE_COMMAND_FAILED: 0x033103,
  INTERNAL_TARGET_FAILURE: 0x044400,
  OPERATION_IN_PROGRESS: 0x050016,
  INVALID_FIELD_IN_COMMAND_INFORMATION_UNIT: 0x050e03,
  PARAMETER_LIST_LENGTH_ERROR: 0x051a00,
  INVALID_COMMAND_OPERATION_CODE: 0x052000,
  LOGICAL_BLOCK_ADDRESS_OUT_OF_RANGE: 0x052100,
  INVALID_FIELD_IN_CDB: 0x052400,
  LOGICAL_UNIT_NOT_SUPPORTED: 0x052500,
  INVALID_FIELD_IN_PARAMETER_LIST: 0x052600,
  PARAMETER_VALUE_INVALID: 0x052602,
  TOO_MANY_TARGET_DESCRIPTORS: 0x052606,
  UNSUPPORTED_TARGET_DESCRIPTOR_TYPE_CODE: 0x052607,
  TOO_MANY_SEGMENT_DESCRIPTORS: 0x052608,
  UNSUPPORTED_SEGMENT_DESCRIPTOR_TYPE_CODE: 0x052609,
  INLINE_DATA_LENGTH_EXCEEDED: 0x05260b,
  INVALID_RELEASE_OF_PERSISTENT_RESERVATION: 0x052604,
  COMMAND_SEQUENCE_ERROR: 0x052c00,
  SAVING_PARAMETERS_NOT_SUPPORTED: 0x053900,
  MEDIUM_REMOVAL_PREVENTED: 0x055302,
  INSUFFICIENT_REGISTRATION_RESOURCES: 0x055504,
  NOT_READY_TO_READY_CHANGE: 0x062800,
  POWER_ON_RESET_OR_BUS_DEVICE_RESET_OCCURRED: 0x062900,
  SCSI_BUS_RESET_OCCURRED: 0x062902,
  BUS_DEVICE_RESET_FUNCTION_OCCURRED: 0x062903,
  DEVICE_INTERNAL_RESET: 0x062904,
  I_T_NEXUS_LOSS_OCCURRED: 0x062907,
  MODE_PARAMETERS_CHANGED: 0x062a01,
  RESERVATIONS_PREEMPTED: 0x062a03,
  RESERVATIONS_RELEASED: 0x062a04,
  REGISTRATIONS_PREEMPTED: 0x062a05,
  CAPACITY_DATA_HAS_CHANGED: 0x062a09,
  COMMANDS_CLEARED_BY_ANOTHER_INITIATOR: 0x062f00,
  THIN_PROVISIONING_SOFT_THRESHOLD_REACHED: 0x063807,
  INQUIRY_DATA_HAS_CHANGED: 0x063f03,
  REPORTED_LUNS_DATA_HAS_CHANGED: 0x063f0e,
  WRITE_PROTECTED: 0x072700,
  SOFTWARE_WRITE_PROTECTED: 0x072702,
  SPACE_ALLOCATION_FAILED_WRITE_PROTECT: 0x072707,
  COPY_ABORTED: 0x0a0000,
  UNREACHABLE_COPY_TARGET: 0x0a0804,
  THIRD_PARTY_DEVICE_FAILURE: 0x0a0d01,
  COPY_TARGET_DEVICE_DATA_UNDERRUN: 0x0a0d04,
  /** WRITE PROTECTED, of the destination of a copy. */
  COPY_TARGET_WRITE_PROTECTED: 0x0a2700,
  IO_PROCESS_TERMINATED: 0x0b0006,
  LOGICAL_UNIT_COMMUNICATION_FAILURE: 0x0b0800,
  COMMAND_TIMEOUT_DURING_PROCESSING: 0x0b2e02,
  COMMANDS_CLEARED_BY_DEVICE_SERVER: 0x0b2f02,
  MISCOMPARE_DURING_VERIFY_OPERATION: 0x0e1d00,
} as const

/** Bytes that a sense buffer of ours holds (virtio 1.3 5.6.4: sense_size is 96 by default). */
export const SENSE_BYTES = 96

/** The value of `information` and `fieldByte` that stands for "not given". */
export const NOT_GIVEN = -1

/** Response codes (SPC-4 4.5.1). */
const RESPONSE = { FIXED: 0x70, DESCRIPTOR: 0x72 } as const

/** Fixed format (SPC-4 4.5.3). */
const FIXED = {
  RESPONSE: 0,
  KEY: 2,
  INFORMATION: 3,
  ADDITIONAL_LENGTH: 7,
  ASC: 12,
  ASCQ: 13,
  KEY_SPECIFIC: 15,
  SIZE: 18,
} as const

/** Descriptor format (SPC-4 4.5.2). */
const DESCRIPTOR = { RESPONSE: 0, KEY: 1, ASC: 2, ASCQ: 3, ADDITIONAL_LENGTH: 7, SIZE: 8 } as const

const VALID = 0x80

/** What sense data tells beyond its code; NOT_GIVEN stands for a part that is absent. */
export interface SenseDetail {
  /** INFORMATION, for a block device an LBA (SBC-3 4.18.1). */
  information: number
  /** FIELD POINTER: the first byte of the field in error (SPC-4 4.5.2.4.2). */
  fieldByte: number
  /** BIT POINTER, or NOT_GIVEN. */
  fieldBit: number
  /** C/D: whether the field is one of the CDB (else of the parameter list). */
  fieldInCdb: boolean
  /** PROGRESS INDICATION, 0 to 1 (SPC-4 4.5.2.4.4): instead of a field. */
  progress: number
}

/** Sense data that is a code and no more. */
export const NO_DETAIL: Readonly<SenseDetail> = {
  information: NOT_GIVEN,
  fieldByte: NOT_GIVEN,
  fieldBit: NOT_GIVEN,
  fieldInCdb: true,
  progress: NOT_GIVEN,
}

/**
 * Writes sense data at the start of `into` (at least SENSE_BYTES long) and returns its length. Fixed format, unless
 * `descriptorFormat` asks for the other or INFORMATION does not fit 32 bits.
 */
export function encodeSense(
  into: Uint8Array,
  code: SenseCode,
  descriptorFormat: boolean,
  detail: Readonly<SenseDetail>,
): number {
  if (descriptorFormat || detail.information > 0xffffffff) return encodeDescriptor(into, code, detail)
  into.fill(0, 0, FIXED.SIZE)
  into[FIXED.RESPONSE] = RESPONSE.FIXED
  into[FIXED.KEY] = code >>> 16
  if (detail.information >= 0) {
    into[FIXED.RESPONSE] = RESPONSE.FIXED | VALID
    putU32(into, FIXED.INFORMATION, detail.information)
  }
  into[FIXED.ADDITIONAL_LENGTH] = FIXED.SIZE - 8
  into[FIXED.ASC] = (code >>> 8) & 0xff
  into[FIXED.ASCQ] = code & 0xff
  if (hasKeySpecific(detail)) putKeySpecific(into, FIXED.KEY_SPECIFIC, detail)
  return FIXED.SIZE
}

function encodeDescriptor(into: Uint8Array, code: SenseCode, detail: Readonly<SenseDetail>): number {
  into.fill(0, 0, SENSE_BYTES)
  into[DESCRIPTOR.RESPONSE] = RESPONSE.DESCRIPTOR
  into[DESCRIPTOR.KEY] = code >>> 16
  into[DESCRIPTOR.ASC] = (code >>> 8) & 0xff
  into[DESCRIPTOR.ASCQ] = code & 0xff
  let at: number = DESCRIPTOR.SIZE
  if (detail.information >= 0) {
    // Information sense data descriptor (SPC-4 4.5.2.2).
    into[at] = 0x00
    into[at + 1] = 0x0a
    into[at + 2] = VALID
    putU32(into, at + 4, Math.floor(detail.information / 2 ** 32))
    putU32(into, at + 8, detail.information % 2 ** 32)
    at += 12
  }
  if (hasKeySpecific(detail)) {
    // Sense key specific sense data descriptor (SPC-4 4.5.2.4).
    into[at] = 0x02
    into[at + 1] = 0x06
    putKeySpecific(into, at + 4, detail)
    at += 8
  }
  into[DESCRIPTOR.ADDITIONAL_LENGTH] = at - DESCRIPTOR.SIZE
  return at
}

function hasKeySpecific(detail: Readonly<SenseDetail>): boolean {
  return detail.fieldByte >= 0 || detail.progress >= 0
}

/**
 * Field pointer sense key specific data (SPC-4 4.5.2.4.2): SKSV, C/D, BPV, BIT POINTER, FIELD POINTER; or SKSV and PROGRESS INDICATION
 * (4.5.2.4.4), in 65,536ths.
 */
function putKeySpecific(into: Uint8Array, at: number, detail: Readonly<SenseDetail>): void {
  if (detail.progress >= 0) {
    const parts = Math.min(Math.floor(detail.progress * 0x10000), 0xffff)
    into[at] = 0x80
    into[at + 1] = parts >>> 8
    into[at + 2] = parts & 0xff
    return
  }
  into[at] = 0x80 | (detail.fieldInCdb ? 0x40 : 0) | (detail.fieldBit >= 0 ? 0x08 | detail.fieldBit : 0)
  into[at + 1] = (detail.fieldByte >>> 8) & 0xff
  into[at + 2] = detail.fieldByte & 0xff
}

function putU32(into: Uint8Array, at: number, value: number): void {
  into[at] = value >>> 24
  into[at + 1] = (value >>> 16) & 0xff
  into[at + 2] = (value >>> 8) & 0xff
  into[at + 3] = value & 0xff
}
