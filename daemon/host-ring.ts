import {
  availBytes,
  DeviceError,
  descBytes,
  type GuestMemory,
  hasFeature,
  isPackedBase,
  PACKED_ALIGNMENT,
  PACKED_EVENT,
  packedRingBytes,
  type RingSetup,
  type SharedArea,
  settledPackedBase,
  usedBytes,
  VIRTIO_F,
  VRING_ADDRESS_F,
} from 'vhost-user-protocol-ts'
import type { HostRing } from '../iothreads/index.js'

interface Part {
  readonly name: string
  readonly bytes: number
  readonly alignment: number
}

/** The parts of a ring, by their names in SET_VRING_ADDR. */
type Parts = Record<'desc' | 'avail' | 'used', Part>

/** virtio 1.3 2.7. */
function splitParts(size: number): Parts {
  return {
    desc: { name: 'descriptor table', bytes: descBytes(size), alignment: 16 },
    avail: { name: 'available ring', bytes: availBytes(size), alignment: 2 },
    used: { name: 'used ring', bytes: usedBytes(size), alignment: 4 },
  }
}

/** virtio 1.3 2.8.10.1. */
function packedParts(size: number): Parts {
  const event = { bytes: PACKED_EVENT.SIZE, alignment: PACKED_ALIGNMENT.EVENT }
  return {
    desc: { name: 'descriptor ring', bytes: packedRingBytes(size), alignment: PACKED_ALIGNMENT.RING },
    avail: { name: 'driver event suppression structure', ...event },
    used: { name: 'device event suppression structure', ...event },
  }
}

/**
 * @param log where writes to guest memory are to be logged; undefined: nowhere
 * @throws DeviceError where a part of the ring is not in the front end's memory, or is not aligned where this process
 *   has that mapped (atomic accesses across cache lines are slow for the whole machine); where a packed ring has no such
 *   base
 */
export function hostRing(setup: RingSetup, memory: GuestMemory, log?: SharedArea): HostRing {
  const { index, size, base, kickFd, callFd, errFd, features } = setup
  const packed = hasFeature(features, VIRTIO_F.RING_PACKED)
  const parts = packed ? packedParts(size) : splitParts(size)
  if (packed && !isPackedBase(settledPackedBase(base), size)) {
    throw new DeviceError('VUS_RING_BASE', `ring ${index}: base 0x${base.toString(16)} of ${size} descriptors`)
  }
  const part = (which: keyof Parts): number => {
    const { name, bytes, alignment } = parts[which]
    const address = setup[which]
    const host = memory.translateUser(address, bytes)
    const where = `ring ${index}: its ${name} at 0x${address.toString(16)}`
    if (host < 0) throw new DeviceError('VUS_RING_ADDRESS', `${where} is not in the front end's memory`)
    if (host % alignment !== 0) {
      throw new DeviceError('VUS_RING_ALIGNMENT', `${where} is in a region that is not aligned to ${alignment} bytes`)
    }
    return host
  }
  return {
    index,
    packed,
    size,
    base,
    desc: part('desc'),
    avail: part('avail'),
    used: part('used'),
    eventIdx: hasFeature(features, VIRTIO_F.EVENT_IDX),
    indirect: hasFeature(features, VIRTIO_F.INDIRECT_DESC),
    kickFd,
    callFd,
    errFd,
    ...(log === undefined ? {} : { log: { area: plain(log), used: loggedAddress(setup) } }),
  }
}

/** What can be sent to another thread. */
function plain({ address, length }: SharedArea): SharedArea {
  return { address, length }
}

function loggedAddress({ flags, logAddress }: RingSetup): number | null {
  return (flags & VRING_ADDRESS_F.LOG) === 0 ? null : logAddress
}
