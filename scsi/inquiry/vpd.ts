import { putAscii } from '../bytes.js'
import type { TargetPort } from '../target-port.js'
import type { UnitConfig } from '../unit-config.js'
import { PERIPHERAL } from './standard.js'
import { blockDeviceCharacteristics, blockLimits, logicalBlockProvisioning } from './vpd-block.js'
import { deviceIdentification } from './vpd-identification.js'
import { thirdPartyCopy } from './vpd-third-party-copy.js'

/** Vital product data page codes (SPC-4 7.8, SBC-3 6.6). */
export const VPD = {
  SUPPORTED_PAGES: 0x00,
  UNIT_SERIAL_NUMBER: 0x80,
  DEVICE_IDENTIFICATION: 0x83,
  EXTENDED_INQUIRY: 0x86,
  MODE_PAGE_POLICY: 0x87,
  THIRD_PARTY_COPY: 0x8f,
  BLOCK_LIMITS: 0xb0,
  BLOCK_DEVICE_CHARACTERISTICS: 0xb1,
  LOGICAL_BLOCK_PROVISIONING: 0xb2,
} as const

/** The header of every page. */
export const VPD_HEADER = { PERIPHERAL: 0, PAGE_CODE: 1, PAGE_LENGTH: 2, SIZE: 4 } as const

/** Extended INQUIRY Data (SPC-4 7.8.7). */
const EXTENDED = { TASK_ATTRIBUTES: 5, CACHE: 6, LUICLR: 7, SIZE: 64 } as const
const SIMPSUP = 0x01
const V_SUP = 0x01
const LUICLR = 0x01

/** Mode Page Policy (SPC-4 7.8.9): all pages and subpages are shared by all nexuses. */
const MODE_PAGE_POLICY = Uint8Array.of(0x3f, 0xff, 0x00, 0x00)

/** A page of `content` behind its header. */
export function vpdPage(peripheral: number, pageCode: number, content: Uint8Array): Uint8Array {
  const page = new Uint8Array(VPD_HEADER.SIZE + content.length)
  page[VPD_HEADER.PERIPHERAL] = peripheral
  page[VPD_HEADER.PAGE_CODE] = pageCode
  new DataView(page.buffer).setUint16(VPD_HEADER.PAGE_LENGTH, content.length)
  page.set(content, VPD_HEADER.SIZE)
  return page
}

/** Pages by page code, with the page that lists them. */
export function vpdPages(
  peripheral: number,
  contents: readonly (readonly [number, Uint8Array])[],
): Map<number, Uint8Array> {
  const codes = [VPD.SUPPORTED_PAGES, ...contents.map(([code]) => code)].sort((a, b) => a - b)
  const pages = new Map([
    [VPD.SUPPORTED_PAGES as number, vpdPage(peripheral, VPD.SUPPORTED_PAGES, Uint8Array.from(codes))],
  ])
  for (const [code, content] of contents) pages.set(code, vpdPage(peripheral, code, content))
  return pages
}

/** The vital product data pages of a disk, whole, by page code. */
export function diskVpdPages(config: UnitConfig, port: TargetPort | null = null): Map<number, Uint8Array> {
  const contents: [number, Uint8Array][] = [
    [VPD.DEVICE_IDENTIFICATION, deviceIdentification(config, port)],
    [VPD.EXTENDED_INQUIRY, extendedInquiry()],
    [VPD.MODE_PAGE_POLICY, MODE_PAGE_POLICY],
    [VPD.THIRD_PARTY_COPY, thirdPartyCopy()],
    [VPD.BLOCK_LIMITS, blockLimits(config)],
    [VPD.BLOCK_DEVICE_CHARACTERISTICS, blockDeviceCharacteristics(config)],
  ]
  if (config.serial !== '') contents.push([VPD.UNIT_SERIAL_NUMBER, serialNumber(config.serial)])
  if (config.discard) contents.push([VPD.LOGICAL_BLOCK_PROVISIONING, logicalBlockProvisioning(config)])
  return vpdPages(PERIPHERAL.DISK, contents)
}

/** Unit Serial Number (SPC-4 7.8.15). */
function serialNumber(serial: string): Uint8Array {
  const content = new Uint8Array(serial.length)
  putAscii(content, 0, serial.length, serial)
  return content
}

/** Extended INQUIRY Data: every task is handled as SIMPLE; REPORT LUNS clears the unit attention of all LUNs. */
function extendedInquiry(): Uint8Array {
  const page = new Uint8Array(EXTENDED.SIZE)
  page[EXTENDED.TASK_ATTRIBUTES] = SIMPSUP
  page[EXTENDED.CACHE] = V_SUP
  page[EXTENDED.LUICLR] = LUICLR
  return page.subarray(VPD_HEADER.SIZE)
}
