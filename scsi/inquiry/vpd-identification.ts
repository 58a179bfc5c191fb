import { putAscii } from '../bytes.js'
import { TARGET_PORT_GROUP, type TargetPort } from '../target-port.js'
import { IDENTITY_LENGTH, type UnitConfig } from '../unit-config.js'

/** A designation descriptor (SPC-4 7.8.6.1). */
const DESIGNATOR = { CODE_SET: 0, TYPE: 1, LENGTH: 3, SIZE: 4 } as const

const CODE_SET = { BINARY: 1, ASCII: 2 } as const
/** DESIGNATOR TYPE, with ASSOCIATION 0: the logical unit. */
const TYPE = { T10_VENDOR_ID: 1, NAA: 3, RELATIVE_TARGET_PORT: 4, TARGET_PORT_GROUP: 5 } as const
/** ASSOCIATION: the target port. */
const OF_PORT = 0x10

/**
 * Content of the Device Identification page (SPC-4 7.8.6): an NAA designator if the unit has one; vendor, product and serial number;
 * and those of the target port: its name, its number and its group.
 */
export function deviceIdentification(config: UnitConfig, port: TargetPort | null): Uint8Array {
  const designators = [designator(CODE_SET.ASCII, TYPE.T10_VENDOR_ID, t10VendorId(config))]
  if (config.wwn !== '') designators.unshift(designator(CODE_SET.BINARY, TYPE.NAA, bytesOf(config.wwn)))
  if (port !== null) {
    designators.push(
      designator(CODE_SET.BINARY, OF_PORT | TYPE.NAA, bytesOf(port.name)),
      designator(CODE_SET.BINARY, OF_PORT | TYPE.RELATIVE_TARGET_PORT, word(port.relative)),
      designator(CODE_SET.BINARY, OF_PORT | TYPE.TARGET_PORT_GROUP, word(TARGET_PORT_GROUP)),
    )
  }
  return Uint8Array.from(designators.flatMap((each) => [...each]))
}

function bytesOf(digits: string): Uint8Array {
  return Uint8Array.from(digits.match(/../g) ?? [], (hex) => Number.parseInt(hex, 16))
}

/** Two reserved bytes, and a number. */
function word(value: number): Uint8Array {
  return Uint8Array.of(0, 0, value >>> 8, value)
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
