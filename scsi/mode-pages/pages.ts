import type { LogicalUnit } from '../logical-unit.js'
import { thresholdSets } from '../space-threshold.js'
import { FLAG } from '../unit-state.js'

/** Mode page codes (SBC-3 6.5, SPC-4 7.5). */
export const MODE_PAGE = {
  READ_WRITE_ERROR_RECOVERY: 0x01,
  RIGID_DISK_GEOMETRY: 0x04,
  VERIFY_ERROR_RECOVERY: 0x07,
  CACHING: 0x08,
  CONTROL: 0x0a,
  INFORMATIONAL_EXCEPTIONS: 0x1c,
  ALL: 0x3f,
} as const

/** Subpage codes (SPC-4 7.5). */
export const MODE_SUBPAGE = {
  NONE: 0x00,
  CONTROL_EXTENSION: 0x01,
  LOGICAL_BLOCK_PROVISIONING: 0x02,
  ALL: 0xff,
} as const

/** A bit of a mode page that MODE SELECT changes: it stands for a flag of the unit's state, one of MODE_FLAGS. */
export interface ChangeableBit {
  /** As the offsets of `fill`. */
  readonly byte: number
  readonly mask: number
  readonly flag: number
}

/**
 * A mode page: its parameters without the header. Offsets in the standards count from the header, here from the
 * parameters.
 */
export interface ModePage {
  readonly code: number
  readonly subpage: number
  /** Bytes of parameters. */
  readonly length: number
  /** Fills in what cannot be changed; `into` is `length` zeros. */
  fill(into: DataView, unit: LogicalUnit): void
  readonly changeable: readonly ChangeableBit[]
}

/** Writes the parameters of a page, as they are with these flags; `into` is as long as the page, and zeros. */
export function fillPage(page: ModePage, into: DataView, unit: LogicalUnit, flags: number): void {
  page.fill(into, unit)
  for (const { byte, mask, flag } of page.changeable) {
    if ((flags & flag) !== 0) into.setUint8(byte, into.getUint8(byte) | mask)
  }
}

/** Sets the bits of a page that can be changed, in `into`, which is zeros. */
export function fillChangeable(page: ModePage, into: DataView): void {
  for (const { byte, mask } of page.changeable) into.setUint8(byte, into.getUint8(byte) | mask)
}

const PAGE_0 = { subpage: MODE_SUBPAGE.NONE, changeable: [] as readonly ChangeableBit[] }

/** AWRE and ARRE: reallocation is the medium's own affair, and automatic. */
const AWRE_ARRE = 0xc0
/** LBPERE: initiators are told of thresholds of logical block provisioning. */
const LBPERE = 0x80

/** Read-Write Error Recovery (SBC-3 6.5.8). */
const readWriteErrorRecovery: ModePage = {
  ...PAGE_0,
  code: MODE_PAGE.READ_WRITE_ERROR_RECOVERY,
  length: 10,
  fill(into, { config }) {
    into.setUint8(0, AWRE_ARRE)
    if (config.spaceThreshold !== undefined) into.setUint8(5, LBPERE)
  },
}

/** Heads and sectors per track of the geometry that large disks have always told. */
const HEADS = 255
const SECTORS_PER_TRACK = 63
const MAX_CYLINDERS = 0xffffff
const LOWEST_RPM = 0x401

/** Rigid Disk Geometry (SBC 7.1.3.7, obsolete): firmware asks for it. */
const rigidDiskGeometry: ModePage = {
  ...PAGE_0,
  code: MODE_PAGE.RIGID_DISK_GEOMETRY,
  length: 22,
  fill(into, { state, config }) {
    const cylinders = Math.min(Math.floor(state.capacity / (HEADS * SECTORS_PER_TRACK)), MAX_CYLINDERS)
    into.setUint32(0, cylinders * 2 ** 8 + HEADS)
    if (config.rotationRate >= LOWEST_RPM) into.setUint16(18, config.rotationRate)
  },
}

/** Verify Error Recovery (SBC-3 6.5.9): no retries are limited, no recovery is left out. */
const verifyErrorRecovery: ModePage = {
  ...PAGE_0,
  code: MODE_PAGE.VERIFY_ERROR_RECOVERY,
  length: 10,
  fill() {},
}

const WCE = 0x04

/** Caching (SBC-3 6.5.5). */
const caching: ModePage = {
  ...PAGE_0,
  code: MODE_PAGE.CACHING,
  length: 18,
  fill() {},
  changeable: [{ byte: 0, mask: WCE, flag: FLAG.WRITE_CACHE }],
}

const D_SENSE = 0x04
const SWP = 0x08
/** GLTSD: log parameters are not saved. */
const GLTSD = 0x02
/** QUEUE ALGORITHM MODIFIER 1: tasks are run in any order. QERR 0: a failed one leaves the others alone. */
const UNRESTRICTED_REORDERING = 0x10

/** Control (SPC-4 7.5.8). TAS 0: a task that another initiator's function aborts ends without a status. */
const control: ModePage = {
  ...PAGE_0,
  code: MODE_PAGE.CONTROL,
  length: 10,
  fill(into) {
    into.setUint8(0, GLTSD)
    into.setUint8(1, UNRESTRICTED_REORDERING)
  },
  changeable: [
    { byte: 0, mask: D_SENSE, flag: FLAG.DESCRIPTOR_SENSE },
    { byte: 2, mask: SWP, flag: FLAG.SOFTWARE_WRITE_PROTECT },
  ],
}

/** Control Extension (SPC-4 7.5.9): no timestamp, no priorities, no asymmetric access that changes by itself. */
const controlExtension: ModePage = {
  ...PAGE_0,
  code: MODE_PAGE.CONTROL,
  subpage: MODE_SUBPAGE.CONTROL_EXTENSION,
  length: 28,
  fill() {},
}

/** DEXCPT: there are no informational exception conditions. */
const DEXCPT = 0x08

/** Informational Exceptions Control (SPC-4 7.5.11). */
const informationalExceptions: ModePage = {
  ...PAGE_0,
  code: MODE_PAGE.INFORMATIONAL_EXCEPTIONS,
  length: 10,
  fill(into) {
    into.setUint8(0, DEXCPT)
  },
}

/** A threshold descriptor (SBC-3 6.5.9): ENABLED, of type 0 (soft), armed while what is left decreases. */
const THRESHOLD = { FLAGS: 12, RESOURCE: 13, COUNT: 16 } as const
const ENABLED = 0x80
const AVAILABLE_RESOURCE = 0x01

/** Logical Block Provisioning (SBC-3 6.5.9): one threshold, for all initiators (SITUA 0), which only the configuration sets. */
const logicalBlockProvisioning: ModePage = {
  ...PAGE_0,
  code: MODE_PAGE.INFORMATIONAL_EXCEPTIONS,
  subpage: MODE_SUBPAGE.LOGICAL_BLOCK_PROVISIONING,
  length: 20,
  fill(into, { config }) {
    if (config.spaceThreshold === undefined) return
    into.setUint8(THRESHOLD.FLAGS, ENABLED)
    into.setUint8(THRESHOLD.RESOURCE, AVAILABLE_RESOURCE)
    into.setUint32(THRESHOLD.COUNT, thresholdSets(config.spaceThreshold))
  },
}

/** The mode pages of a disk, ascending by code and subpage. */
export const MODE_PAGES: readonly ModePage[] = [
  readWriteErrorRecovery,
  rigidDiskGeometry,
  verifyErrorRecovery,
  caching,
  control,
  controlExtension,
  informationalExceptions,
  logicalBlockProvisioning,
]
