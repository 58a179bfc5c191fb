import {
  availBytes,
  DeviceError,
  descBytes,
  type GuestMemory,
  hasFeature,
  type RingSetup,
  usedBytes,
  VIRTIO_F,
} from 'vhost-user-protocol-ts'

/** A ring with its parts at host addresses, as the threads of this process use it. */
export interface HostRing {
  readonly index: number
  readonly size: number
  readonly base: number
  readonly desc: number
  readonly avail: number
  readonly used: number
  readonly eventIdx: boolean
  readonly indirect: boolean
  readonly kickFd: number
  readonly callFd: number
  readonly errFd: number
}

/** @throws DeviceError where a part of the ring is not in the front end's memory */
export function hostRing(setup: RingSetup, memory: GuestMemory): HostRing {
  const { index, size, base, kickFd, callFd, errFd, features } = setup
  const part = (name: string, address: number, bytes: number): number => {
    const host = memory.translateUser(address, bytes)
    if (host >= 0) return host
    throw new DeviceError(
      'VUS_RING_ADDRESS',
      `ring ${index}: its ${name} at 0x${address.toString(16)} is not in the front end's memory`,
    )
  }
  return {
    index,
    size,
    base,
    desc: part('descriptor table', setup.desc, descBytes(size)),
    avail: part('available ring', setup.avail, availBytes(size)),
    used: part('used ring', setup.used, usedBytes(size)),
    eventIdx: hasFeature(features, VIRTIO_F.EVENT_IDX),
    indirect: hasFeature(features, VIRTIO_F.INDIRECT_DESC),
    kickFd,
    callFd,
    errFd,
  }
}
