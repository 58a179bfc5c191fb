/** Initiator ports: each controller has one, its front end's. */
import { createHash } from 'node:crypto'

/** NAA 3h: locally assigned (SPC-5 7.7.6.5.4). */
const NAA_LOCALLY_ASSIGNED = '3'
const NAME_DIGITS = 15

/**
 * The SAS address in the TransportID of a controller's front end, 16 hex digits: what its registrations are known by. It derives from the
 * controller's id, so that it is the same after a reconnect, a restart, and on another host.
 */
export function initiatorPort(controller: string): string {
  const digest = createHash('sha256').update(`initiator port\0${controller}`).digest('hex')
  return NAA_LOCALLY_ASSIGNED + digest.slice(0, NAME_DIGITS)
}
