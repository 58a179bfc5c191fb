import { viewMemory } from 'memfd-mmap'
import { DirtyLog, LoggedRange, usedBytes } from 'vhost-user-protocol-ts'
import type { HostRing, RingLog } from './messages.js'

/** This thread's own view of the dirty log, for one ring. It has to be dropped with the ring, before the log is unmapped. */
export function dirtyLog({ area }: RingLog): DirtyLog {
  return new DirtyLog(viewMemory(area.address, area.length))
}

/** A split ring's used ring in its log; null: it is not logged. */
export function usedRingLog(log: DirtyLog, ring: HostRing): LoggedRange | null {
  const used = ring.log?.used ?? null
  return used === null ? null : new LoggedRange(log, used, usedBytes(ring.size))
}
