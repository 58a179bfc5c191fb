import type { Medium } from './messages.js'

/** A piece of work on a medium, without an initiator's request. Ranges are in bytes, and lie within their media. */
export type MediumJob = MediumRange &
  (
    | {
        readonly type: 'zero'
        /** Whether the range may be deallocated for it. */
        readonly deallocate: boolean
      }
    | {
        readonly type: 'fill'
        /** Repeated over the range: 1 to BOUNCE_BYTES. */
        readonly pattern: Uint8Array<ArrayBuffer>
      }
    | { readonly type: 'copy'; readonly source: Medium; readonly sourceOffset: number }
    /** For who writes the range by other means: counts as a write there from its end on until `letGo`. `key`: what that names it by. */
    | { readonly type: 'hold'; readonly key: number }
  )

interface MediumRange {
  readonly medium: Medium
  /** The write gate of the medium's unit: its memory, and whether reads pass it too. */
  readonly gate: { readonly memory: SharedArrayBuffer; readonly reads: boolean }
  readonly offset: number
  readonly length: number
}
