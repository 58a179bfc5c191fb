import type { Nexus } from '../nexus.js'
import { FLAG } from '../unit-state.js'

/** Mode page codes (SBC-3 6.5, SPC-4 7.5). */
export const MODE_PAGE = {
  READ_WRITE_ERROR_RECOVERY: 0x01,
  RIGID_DISK_GEOMETRY: 0x04,
  CACHING: 0x08,
  CONTROL: 0x0a,
  INFORMATIONAL_EXCEPTIONS: 0x1c,
  ALL: 0x3f,
} as const

/**
 * A mode page: its parameters without the header. Nothing in it can be changed by MODE SELECT, so the default is the
 * current value.
 */
export interface ModePage {
  readonly code: number
  /** Bytes of parameters. */
  readonly length: number
  /**
   * Fills in the parameters; `into` is `length` zeros. Offsets in the standards count from the header, here from the
   * parameters.
   */
  fill(into: DataView, nexus: Nexus, flags: number): void
}

/** AWRE and ARRE: reallocation is the medium's own affair, and automatic. */
const AWRE_ARRE = 0xc0

/** Read-Write Error Recovery (SBC-3 6.5.8). */
const readWriteErrorRecovery: ModePage = {
  code: MODE_PAGE.READ_WRITE_ERROR_RECOVERY,
  length: 10,
  fill(into) {
    into.setUint8(0, AWRE_ARRE)
  },
}

/** Heads and sectors per track of the geometry that large disks have always told. */
const HEADS = 255
const SECTORS_PER_TRACK = 63
const MAX_CYLINDERS = 0xffffff
const LOWEST_RPM = 0x401

/** Rigid Disk Geometry (SBC 7.1.3.7, obsolete): firmware asks for it. */
const rigidDiskGeometry: ModePage = {
  code: MODE_PAGE.RIGID_DISK_GEOMETRY,
  length: 22,
  fill(into, nexus) {
    const { state, config } = nexus.unit
    const cylinders = Math.min(Math.floor(state.capacity / (HEADS * SECTORS_PER_TRACK)), MAX_CYLINDERS)
    into.setUint32(0, cylinders * 2 ** 8 + HEADS)
    if (config.rotationRate >= LOWEST_RPM) into.setUint16(18, config.rotationRate)
  },
}

const WCE = 0x04

/** Caching (SBC-3 6.5.5). */
const caching: ModePage = {
  code: MODE_PAGE.CACHING,
  length: 18,
  fill(into, _nexus, flags) {
    if ((flags & FLAG.WRITE_CACHE) !== 0) into.setUint8(0, WCE)
  },
}

const D_SENSE = 0x04
/** GLTSD: log parameters are not saved. */
const GLTSD = 0x02
/** QUEUE ALGORITHM MODIFIER 1: tasks are run in any order. QERR 0: a failed one leaves the others alone. */
const UNRESTRICTED_REORDERING = 0x10

/** Control (SPC-4 7.5.8). TAS 0: a task that another initiator's function aborts ends without a status. */
const control: ModePage = {
  code: MODE_PAGE.CONTROL,
  length: 10,
  fill(into, _nexus, flags) {
    into.setUint8(0, GLTSD | ((flags & FLAG.DESCRIPTOR_SENSE) !== 0 ? D_SENSE : 0))
    into.setUint8(1, UNRESTRICTED_REORDERING)
  },
}

/** DEXCPT: there are no informational exception conditions. */
const DEXCPT = 0x08

/** Informational Exceptions Control (SPC-4 7.5.11). */
const informationalExceptions: ModePage = {
  code: MODE_PAGE.INFORMATIONAL_EXCEPTIONS,
  length: 10,
  fill(into) {
    into.setUint8(0, DEXCPT)
  },
}

/** The mode pages of a disk, ascending by code. */
export const MODE_PAGES: readonly ModePage[] = [
  readWriteErrorRecovery,
  rigidDiskGeometry,
  caching,
  control,
  informationalExceptions,
]
