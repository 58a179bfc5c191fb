import { type ItNexus, isSameNexus, MAX_REGISTRANTS, NO_KEY, type Registrant, type Reservations } from './state.js'
import { isHeldByAll, isReservationType } from './type.js'

const HEX = /^[0-9a-f]{16}$/
const MAX_GENERATION = 0xffffffff

/**
 * The reservations that a value read from JSON stands for (they are written as they are). undefined: it does not stand for any that could
 * be.
 */
export function reservationsFrom(value: unknown): Reservations | undefined {
  if (!isObject(value)) return undefined
  const { generation, aptpl, registrants, persistent, reserved } = value
  if (!isNumber(generation, 0, MAX_GENERATION) || typeof aptpl !== 'boolean' || !Array.isArray(registrants)) {
    return undefined
  }
  if (registrants.length > MAX_REGISTRANTS || !registrants.every(isRegistrant)) return undefined
  const known: readonly Registrant[] = registrants.map(({ initiator, port, key }) => ({ initiator, port, key }))
  if (known.some((each, i) => known.findIndex((other) => isSameNexus(each, other)) !== i)) return undefined
  if (reserved !== null && (!isNexus(reserved) || known.length > 0)) return undefined
  const base = {
    generation,
    aptpl,
    registrants: known,
    reserved: reserved === null ? null : { initiator: reserved.initiator, port: reserved.port },
  }
  if (persistent === null) return { ...base, persistent: null }
  if (!isObject(persistent)) return undefined
  const { type, holder } = persistent
  if (typeof type !== 'number' || !isReservationType(type) || known.length === 0) return undefined
  if (isHeldByAll(type)) return holder === null ? { ...base, persistent: { type, holder } } : undefined
  if (!isNexus(holder) || !known.some((each) => isSameNexus(each, holder))) return undefined
  return { ...base, persistent: { type, holder: { initiator: holder.initiator, port: holder.port } } }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null
}

function isNumber(value: unknown, least: number, most: number): value is number {
  return Number.isInteger(value) && (value as number) >= least && (value as number) <= most
}

function isNexus(value: unknown): value is ItNexus {
  return (
    isObject(value) &&
    typeof value.initiator === 'string' &&
    HEX.test(value.initiator) &&
    isNumber(value.port, 1, 0xffff)
  )
}

function isRegistrant(value: unknown): value is Registrant {
  if (!isNexus(value)) return false
  const { key } = value as { key?: unknown }
  return typeof key === 'string' && HEX.test(key) && key !== NO_KEY
}
