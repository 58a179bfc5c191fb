/** SELECT REPORT (SPC-4 6.33; from 10h on SPC-5 6.33, no unit here is an administrative or a subsidiary one). */
export const SELECT_REPORT = {
  /** Logical units without the well known ones. */
  UNITS: 0x00,
  WELL_KNOWN: 0x01,
  ALL: 0x02,
  ADMINISTRATIVE: 0x10,
  /** Administrative ones, and those that are subsidiary to none. */
  TOP_LEVEL: 0x11,
  /** Those subsidiary to the one that is asked. */
  SUBSIDIARY: 0x12,
} as const

const HAS_UNITS: ReadonlySet<number> = new Set([SELECT_REPORT.UNITS, SELECT_REPORT.ALL, SELECT_REPORT.TOP_LEVEL])
const HAS_WELL_KNOWN: ReadonlySet<number> = new Set([SELECT_REPORT.WELL_KNOWN, SELECT_REPORT.ALL])

/** The REPORT LUNS well known logical unit (SPC-4 9.2), as the first two bytes of its LUN. */
export const WLUN_REPORT_LUNS = 0xc101

/** The highest LUN that flat space addressing has (SAM-5 4.7.7.4). */
export const MAX_LUN = 16383

/** Peripheral device addressing has one byte for a LUN; beyond that flat space addressing is used (SAM-5 4.7.7). */
const PERIPHERAL_LUNS = 256
const FLAT_SPACE = 0x4000

/** REPORT LUNS parameter data (SPC-4 6.33). */
const LIST = { LENGTH: 0, LUNS: 8, LUN_SIZE: 8 } as const

/** REPORT LUNS parameter data for the LUNs of a target, by SELECT REPORT. */
export function encodeLunList(luns: readonly number[], select: number): Uint8Array {
  const units = HAS_UNITS.has(select) ? luns.length : 0
  const wellKnown = HAS_WELL_KNOWN.has(select) ? 1 : 0
  const bytes = new Uint8Array(LIST.LUNS + LIST.LUN_SIZE * (units + wellKnown))
  const view = new DataView(bytes.buffer)
  view.setUint32(LIST.LENGTH, bytes.length - LIST.LUNS)
  let at: number = LIST.LUNS
  for (let i = 0; i < units; i++) {
    const lun = luns[i]!
    view.setUint16(at, lun < PERIPHERAL_LUNS ? lun : FLAT_SPACE | lun)
    at += LIST.LUN_SIZE
  }
  if (wellKnown > 0) view.setUint16(at, WLUN_REPORT_LUNS)
  return bytes
}
