import { viewMemory } from 'memfd-mmap'
import {
  availBytes,
  type DirtyLog,
  descBytes,
  type GuestMemory,
  PACKED_EVENT,
  PackedVirtqueue,
  packedRingBytes,
  SplitVirtqueue,
  settledPackedBase,
  usedBytes,
  type Virtqueue,
} from 'vhost-user-protocol-ts'
import type { HostRing } from './messages.js'
import { packedRingLog, usedRingLog } from './ring-log.js'

/**
 * The device's side of a ring of either kind, for the thread that calls this.
 *
 * @param base where the ring goes on, of an inflight region; undefined: where the front end says, with nothing in flight
 * @param log of a migration, of which `ring.log` says more; null: nothing is logged
 * @throws RangeError for a base that no packed ring of this size has, which hostRing has refused
 */
export function openVirtqueue(
  ring: HostRing,
  memory: GuestMemory,
  base: number | undefined,
  log: DirtyLog | null,
): Virtqueue {
  const { size, eventIdx } = ring
  if (ring.packed) {
    return new PackedVirtqueue({
      size,
      desc: viewMemory(ring.desc, packedRingBytes(size)),
      driverEvent: viewMemory(ring.avail, PACKED_EVENT.SIZE),
      deviceEvent: viewMemory(ring.used, PACKED_EVENT.SIZE),
      base: base ?? settledPackedBase(ring.base),
      eventIdx,
      log: log && packedRingLog(log, ring, memory),
    })
  }
  return new SplitVirtqueue({
    size,
    desc: viewMemory(ring.desc, descBytes(size)),
    avail: viewMemory(ring.avail, availBytes(size)),
    used: viewMemory(ring.used, usedBytes(size)),
    base: base ?? ring.base,
    eventIdx,
    usedLog: log && usedRingLog(log, ring),
  })
}
