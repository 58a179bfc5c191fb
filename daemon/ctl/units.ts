/** Quantities for people. */

const BINARY_UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB']
const TIME_UNITS = [
  ['s', 1e9],
  ['ms', 1e6],
  ['us', 1e3],
] as const
const SPANS = [
  ['d', 86_400],
  ['h', 3600],
  ['min', 60],
  ['s', 1],
] as const

/** `20 GiB`, `1.5 MiB`: the largest unit of which there is one, with at most one decimal. */
export function formatBytes(bytes: number): string {
  let unit = 0
  let value = bytes
  // What would be rounded to 1024 of a unit is one of the next.
  while (round(value) >= 1024 && unit < BINARY_UNITS.length - 1) {
    value /= 1024
    unit++
  }
  return `${round(value)} ${BINARY_UNITS[unit]}`
}

/** A short time in ns: `1.2 ms`. */
export function formatNanoseconds(ns: number): string {
  const [unit, size] = TIME_UNITS.find(([, size]) => ns >= size) ?? ['ns', 1]
  return `${round(ns / size)} ${unit}`
}

/** A long time in seconds, by its two largest units: `3 h 12 min`. */
export function formatSeconds(seconds: number): string {
  const whole = Math.floor(seconds)
  const first = SPANS.findIndex(([, size]) => whole >= size)
  if (first < 0) return '0 s'
  const [unit, size] = SPANS[first]!
  const next = SPANS[first + 1]
  const rest = next === undefined ? 0 : Math.floor((whole % size) / next[1])
  return `${Math.floor(whole / size)} ${unit}${rest > 0 ? ` ${rest} ${next![0]}` : ''}`
}

function round(value: number): number {
  return Math.round(value * 10) / 10
}
