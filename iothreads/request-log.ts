import { CMD_RESPONSE, type DirtyLog, type GuestMemory } from 'vhost-user-protocol-ts'
import type { Request } from './request.js'

/** The dirty log of a live migration, for the requests of one queue (vhost-user.rst "Migration"). */
export class RequestLog {
  readonly #log: DirtyLog
  readonly #memory: GuestMemory
  /** See RequestTable. */
  readonly #segments: Float64Array
  #missed = 0

  constructor(log: DirtyLog, memory: GuestMemory, segments: Float64Array) {
    this.#log = log
    this.#memory = memory
    this.#segments = segments
  }

  /**
   * Reports all that may have been written for a request that has just been answered: its response, and every data-in
   * buffer, whatever became of it, since a read that failed or was cancelled may have written a part.
   */
  mark(request: Request): void {
    const log = this.#log
    const memory = this.#memory
    if (request.responseWindow >= 0) {
      log.mark(memory.guestOfWindow(request.responseWindow, request.responseOffset), CMD_RESPONSE.SIZE)
    } else {
      for (let i = 0; i < request.scatterCount; i++) log.mark(request.scatter![2 * i]!, request.scatter![2 * i + 1]!)
    }
    const segments = this.#segments
    let at = request.firstSegment + 2 * request.outSegments
    for (const end = at + 2 * request.inSegments; at < end; at += 2) {
      log.mark(memory.guestOfHost(segments[at]!), segments[at + 1]!)
    }
  }

  /** Whether something of the queue lay beyond the log since this was last asked. */
  hasMissed(): boolean {
    const { missed } = this.#log
    if (missed === this.#missed) return false
    this.#missed = missed
    return true
  }
}
