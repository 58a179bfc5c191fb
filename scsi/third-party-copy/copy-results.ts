import type { Scratch } from '../scratch.js'

/** COPY MANAGER STATUS (SPC-4 6.33, table). */
export const COPY_STATUS = { IN_PROGRESS: 0, COMPLETE: 1, FAILED: 2 } as const

/** TRANSFER COUNT UNITS: bytes, KiB ... (SPC-4 6.33). */
const KIBIBYTE = 1
const FAILED_SEGMENT = { RESERVED: 52 } as const

/** How a copy that has a list identifier goes, or went. */
export interface CopyResult {
  status: number
  segments: number
  /** Bytes written. */
  bytes: number
  /** The SCSI status and sense data of a copy that has failed. */
  scsiStatus: number
  sense: Uint8Array
}

/** The results that one I_T_L nexus may ask for, by list identifier (SPC-4 5.17.4.3): 256 at most. */
export class CopyResults {
  readonly #results = new Map<number, CopyResult>()

  /** A copy begins: its result, to be kept up to date; undefined: one with this identifier is under way. */
  begin(listIdentifier: number): CopyResult | undefined {
    if (this.#results.get(listIdentifier)?.status === COPY_STATUS.IN_PROGRESS) return undefined
    const result = { status: COPY_STATUS.IN_PROGRESS, segments: 0, bytes: 0, scsiStatus: 0, sense: new Uint8Array(0) }
    this.#results.set(listIdentifier, result)
    return result
  }

  get(listIdentifier: number): CopyResult | undefined {
    return this.#results.get(listIdentifier)
  }

  /** A copy that is not under way is forgotten. */
  discard(listIdentifier: number): void {
    if (this.get(listIdentifier)?.status !== COPY_STATUS.IN_PROGRESS) this.#results.delete(listIdentifier)
  }

  /** Forgets all that have ended: the nexus is lost, or the unit was reset. */
  discardAll(): void {
    for (const listIdentifier of this.#results.keys()) this.discard(listIdentifier)
  }
}

/** Parameter data of RECEIVE COPY STATUS(LID1) (SPC-4 6.33). */
export function writeCopyStatus(into: Scratch, { status, segments, bytes }: CopyResult): void {
  into
    .u32(8)
    .u8(status)
    .u16(segments)
    .u8(KIBIBYTE)
    .u32(Math.min(Math.floor(bytes / 1024), 0xffffffff))
}

/** Parameter data of RECEIVE COPY FAILURE DETAILS(LID1) (SPC-4 6.32); no more than AVAILABLE DATA for one without any. */
export function writeFailureDetails(into: Scratch, { status, scsiStatus, sense }: CopyResult): void {
  if (status !== COPY_STATUS.FAILED) {
    into.u32(0)
    return
  }
  into
    .u32(FAILED_SEGMENT.RESERVED + 4 + sense.length)
    .zeros(FAILED_SEGMENT.RESERVED)
    .u8(scsiStatus)
    .u8(0)
    .u16(sense.length)
    .raw(sense)
}
