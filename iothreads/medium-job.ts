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
    /** Everything written becomes durable, whatever the range. */
    | { readonly type: 'flush' }
  )

interface MediumRange {
  readonly medium: Medium
  readonly offset: number
  readonly length: number
}
