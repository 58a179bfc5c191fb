import {
  availBytes,
  DeviceError,
  descBytes,
  type GuestMemory,
  hasFeature,
  type RingSetup,
  type SharedArea,
  usedBytes,
  VIRTIO_F,
  VRING_ADDRESS_F,
} from 'vhost-user-protocol-ts'
import type { HostRing } from '../iothreads/index.js'

/** Alignment of the parts of a split ring (virtio 1.3 2.7). */
const ALIGNMENT = { desc: 16, avail: 2, used: 4 } as const

/**
 * @param log where writes to guest memory are to be logged; undefined: nowhere
 * @throws DeviceError where a part of the ring is not in the front end's memory, or is not aligned where this process
 *   has that mapped (atomic accesses across cache lines are slow for the whole machine)
 */
export function hostRing(setup: RingSetup, memory: GuestMemory, log?: SharedArea): HostRing {
  const { index, size, base, kickFd, callFd, errFd, features } = setup
  const part = (name: string, address: number, bytes: number, alignment: number): number => {
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
    size,
    base,
    desc: part('descriptor table', setup.desc, descBytes(size), ALIGNMENT.desc),
    avail: part('available ring', setup.avail, availBytes(size), ALIGNMENT.avail),
    used: part('used ring', setup.used, usedBytes(size), ALIGNMENT.used),
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
