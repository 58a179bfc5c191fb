import { createHash } from 'node:crypto'

export interface Identity {
  readonly serial: string
  /** 16 hex digits, NAA 3. */
  readonly wwn: string
}

/** NAA 3h: locally assigned (SPC-5 7.7.6.5.4). */
const NAA_LOCALLY_ASSIGNED = '3'
const SERIAL_DIGITS = 20
const WWN_DIGITS = 15

/**
 * The identity of a LUN that was given none, from what it is made of: two daemons that serve one image, one after the
 * other or on two hosts, agree on it.
 * @param source the resolved path of the image, or the id of a LUN that has none
 */
export function deriveIdentity(driver: string, source: string): Identity {
  const digest = createHash('sha256').update(`${driver}\0${source}`).digest('hex')
  return {
    serial: digest.slice(0, SERIAL_DIGITS),
    wwn: NAA_LOCALLY_ASSIGNED + digest.slice(SERIAL_DIGITS, SERIAL_DIGITS + WWN_DIGITS),
  }
}
