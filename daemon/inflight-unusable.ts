import { DeviceError } from 'vhost-user-protocol-ts'

/** The front end's inflight buffer has nothing for a ring that it could go on with. */
export function inflightUnusable(index: number): DeviceError {
  return new DeviceError('VUS_INFLIGHT_UNUSABLE', `ring ${index}: its part of the inflight buffer makes no sense`)
}
