import { putAscii } from '../bytes.js'
import { IDENTITY_LENGTH, type UnitConfig } from '../unit-config.js'

/** Standard INQUIRY data (SPC-4 6.6.2). */
export const INQUIRY = {
  PERIPHERAL: 0,
  RMB: 1,
  VERSION: 2,
  RESPONSE_FORMAT: 3,
  ADDITIONAL_LENGTH: 4,
  TPGS: 5,
  COMMAND_QUEUE: 7,
  VENDOR: 8,
  PRODUCT: 16,
  REVISION: 32,
  VERSION_DESCRIPTORS: 58,
  SIZE: 96,
} as const

/** PERIPHERAL QUALIFIER << 5 | PERIPHERAL DEVICE TYPE (SPC-4 6.6.2, tables of both). */
export const PERIPHERAL = {
  DISK: 0x00,
  WELL_KNOWN_UNIT: 0x1e,
  /** Nothing connected, but the target answers here. */
  NOT_CONNECTED: 0x3f,
  NOT_SUPPORTED: 0x7f,
} as const

const SPC_4 = 0x06
const HISUP = 0x10
const RESPONSE_FORMAT_2 = 0x02
const RMB = 0x80
/** REPORT TARGET PORT GROUPS is there, and nobody changes the state of a group. */
const IMPLICIT_TPGS = 0x10
/** 3PC: EXTENDED COPY and its like are there. */
const THIRD_PARTY_COPY = 0x08
const CMDQUE = 0x02

/** SAM-5, SPC-4 and SBC-3, no version claimed (SPC-4 6.6.2, version descriptor values). */
const VERSION_DESCRIPTORS = [0x00a0, 0x0460, 0x04c0]

export type InquiryIdentity = Pick<UnitConfig, 'vendor' | 'product' | 'revision' | 'removable'>

/** Standard INQUIRY data of a unit, INQUIRY.SIZE bytes. */
export function standardInquiry(peripheral: number, identity: InquiryIdentity): Uint8Array {
  const bytes = new Uint8Array(INQUIRY.SIZE)
  const view = new DataView(bytes.buffer)
  bytes[INQUIRY.PERIPHERAL] = peripheral
  bytes[INQUIRY.RMB] = identity.removable ? RMB : 0
  bytes[INQUIRY.VERSION] = SPC_4
  bytes[INQUIRY.RESPONSE_FORMAT] = HISUP | RESPONSE_FORMAT_2
  bytes[INQUIRY.ADDITIONAL_LENGTH] = INQUIRY.SIZE - 5
  bytes[INQUIRY.TPGS] = peripheral === PERIPHERAL.DISK ? IMPLICIT_TPGS | THIRD_PARTY_COPY : 0
  bytes[INQUIRY.COMMAND_QUEUE] = CMDQUE
  putAscii(bytes, INQUIRY.VENDOR, IDENTITY_LENGTH.vendor, identity.vendor)
  putAscii(bytes, INQUIRY.PRODUCT, IDENTITY_LENGTH.product, identity.product)
  putAscii(bytes, INQUIRY.REVISION, IDENTITY_LENGTH.revision, identity.revision)
  for (const [i, descriptor] of VERSION_DESCRIPTORS.entries()) {
    view.setUint16(INQUIRY.VERSION_DESCRIPTORS + 2 * i, descriptor)
  }
  return bytes
}
