/** What outlives a restart of a logical unit, as JSON. */
import { type Reservations, reservationsFrom } from '../scsi/index.js'

export interface UnitSnapshot {
  /** Of the host (/proc/sys/kernel/random/boot_id) when it was written. */
  readonly bootId: string
  readonly wwn: string
  readonly serial: string
  /** FLAG bits that a guest may have changed, and what they were at the start of the daemon. */
  readonly flags: number
  readonly defaults: number
  readonly reservations: Reservations
  /** Pending unit attentions (ATTENTION bits) by the id of the controller. */
  readonly attentions: Readonly<Record<string, number>>
}

/** Changes with what the members, or bits in them, mean. */
const VERSION = 1

export function snapshotText(snapshot: UnitSnapshot): string {
  return `${JSON.stringify({ version: VERSION, ...snapshot }, undefined, 1)}\n`
}

/** undefined: the text is not what snapshotText wrote. */
export function parseSnapshot(text: string): UnitSnapshot | undefined {
  const value = parse(text)
  if (!isObject(value) || value.version !== VERSION) return undefined
  const { bootId, wwn, serial, flags, defaults, attentions } = value
  const reservations = reservationsFrom(value.reservations)
  if (typeof bootId !== 'string' || typeof wwn !== 'string' || typeof serial !== 'string') return undefined
  if (!Number.isInteger(flags) || !Number.isInteger(defaults) || reservations === undefined) return undefined
  if (!isObject(attentions) || !Object.values(attentions).every((each) => Number.isInteger(each))) return undefined
  return {
    bootId,
    wwn,
    serial,
    flags: flags as number,
    defaults: defaults as number,
    reservations,
    attentions: attentions as Record<string, number>,
  }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
