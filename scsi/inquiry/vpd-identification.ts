import { putAscii } from '../bytes.js'
import { IDENTITY_LENGTH, type UnitConfig } from '../unit-config.js'

/** A designation descriptor (SPC-4 7.8.6.1). */
const DESIGNATOR = { CODE_SET: 0, TYPE: 1, LENGTH: 3, SIZE: 4 } as const

const CODE_SET = { BINARY: 1, ASCII: 2 } as const
/** DESIGNATOR TYPE, with ASSOCIATION 0: the logical unit. */
const TYPE = { T10_VENDOR_ID: 1, NAA: 3 } as const

/**
 * Content of the Device Identification page (SPC-4 7.8.6): an NAA designator if the unit has one, and vendor, product
 * and serial number.
 */
export function deviceIdentification(config: UnitConfig): Uint8Array {
  const naa = designator(
    CODE_SET.BINARY,
    TYPE.NAA,
    Uint8Array.from(config.wwn.match(/../g) ?? [], (hex) => Number.parseInt(hex, 16)),
  )
  const t10 = designator(CODE_SET.ASCII, TYPE.T10_VENDOR_ID, t10VendorId(config))
  return Uint8Array.from(config.wwn === '' ? t10 : [...naa, ...t10])
}

/**
 * T10 vendor ID based designator (SPC-4 7.8.6.4), made as SPC-4 recommends: product identification and serial number
 * follow the vendor.
 */
function t10VendorId(config: UnitConfig): Uint8Array {
  const { vendor, product } = IDENTITY_LENGTH
  const bytes = new Uint8Array(vendor + product + config.serial.length)
  putAscii(bytes, 0, vendor, config.vendor)
  putAscii(bytes, vendor, product, config.product)
  putAscii(bytes, vendor + product, config.serial.length, config.serial)
  return bytes
}

function designator(codeSet: number, type: number, value: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(DESIGNATOR.SIZE + value.length)
  bytes[DESIGNATOR.CODE_SET] = codeSet
  bytes[DESIGNATOR.TYPE] = type
  bytes[DESIGNATOR.LENGTH] = value.length
  bytes.set(value, DESIGNATOR.SIZE)
  return bytes
}
