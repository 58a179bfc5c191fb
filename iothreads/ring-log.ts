import { viewMemory } from 'memfd-mmap'
import { DirtyLog, type GuestMemory, LoggedRange, type PackedRingLog, usedBytes } from 'vhost-user-protocol-ts'
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

/**
 * A packed ring in its log; null: it is not logged. The front end has a log address for the event suppression structure
 * only: the descriptor ring is logged where it is.
 */
export function packedRingLog(log: DirtyLog, ring: HostRing, memory: GuestMemory): PackedRingLog | null {
  const deviceEvent = ring.log?.used ?? null
  return deviceEvent === null ? null : { log, desc: memory.guestOfHost(ring.desc), deviceEvent }
}
