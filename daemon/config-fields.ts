/**
 * Field types of the configuration. Each takes what JSON has and what a command line has (text), so that flags and
 * files share one schema; each says what it expects in one phrase.
 */
import { z } from 'zod'

const NOT_SUPPORTED = 'is not supported by this version'

/** A whole number, or its decimal digits. */
export function wholeNumber(min: number, max: number) {
  const error = () => `expected a whole number from ${min} to ${max}`
  const inRange = z.int({ error }).min(min, { error }).max(max, { error })
  const digits = z.string({ error }).regex(/^\d{1,16}$/, { error })
  return z.union([inRange, digits.transform(Number).pipe(inRange)], { error })
}

/** A number of seconds, fractions allowed. */
export function seconds(max: number) {
  const error = () => `expected a number of seconds from 0 to ${max}`
  const inRange = z.number({ error }).min(0, { error }).max(max, { error })
  const decimal = z.string({ error }).regex(/^\d{1,9}(\.\d{1,9})?$/, { error })
  return z.union([inRange, decimal.transform(Number).pipe(inRange)], { error })
}

/** A boolean, or `on` or `off`. */
export function onOff() {
  const error = () => 'expected on or off'
  return z.union([z.boolean({ error }), z.enum(['on', 'off'], { error }).transform((value) => value === 'on')], {
    error,
  })
}

/** Bytes: a number, or digits with K, M, G, T or P for powers of 1024. */
export function size() {
  const error = () => 'expected a size in bytes such as 1073741824, 512M or 1G'
  const bytes = z.int({ error }).min(1, { error })
  const text = z.string({ error }).regex(/^\d{1,16}[KMGTP]?$/i, { error })
  return z.union([bytes, text.transform(parseSize).pipe(bytes)], { error })
}

function parseSize(text: string): number {
  const unit = 'KMGTP'.indexOf(text.slice(-1).toUpperCase()) + 1
  return Number(unit > 0 ? text.slice(0, -1) : text) * 1024 ** unit
}

/** One of a few numbers. */
export function oneOfNumbers<const T extends readonly [number, ...number[]]>(values: T) {
  const error = () => `expected ${listWords(values.map(String))}`
  const literal = z.literal(values as readonly [T[number], ...T[number][]], { error })
  const text = z.enum(values.map(String), { error }).transform((value) => Number(value) as T[number])
  return z.union([literal, text], { error })
}

/** One of a few words. */
export function oneOf<const T extends readonly [string, ...string[]]>(values: T) {
  return z.enum(values, { error: () => `expected ${listWords(values)}` })
}

/** Printable ASCII of at most `max` characters, not empty and not led by a space. */
export function printable(max: number) {
  const error = () => `expected 1 to ${max} printable ASCII characters`
  return z.string({ error }).regex(new RegExp(`^[\\x21-\\x7e][\\x20-\\x7e]{0,${max - 1}}$`), { error })
}

/** Text that is not empty. */
export function text(what: string) {
  const error = () => `expected ${what}`
  return z.string({ error }).min(1, { error })
}

/** The name of a LUN, an IOThread or a controller. */
export function name() {
  const error = () => "expected a name of at most 64 letters, digits, '.', '_' and '-'"
  return z.string({ error }).regex(/^[A-Za-z0-9_][A-Za-z0-9._-]{0,63}$/, { error })
}

/** A key of the outside surface whose function this version lacks. */
export function unsupported() {
  return z.never({ error: () => NOT_SUPPORTED })
}

/** A word of which this version can do some values only. */
export function oneOfSupported<const T extends readonly [string, ...string[]], S extends T[number]>(
  values: T,
  supported: readonly S[],
) {
  return oneOf(values).transform((value, context): S => {
    const found = supported.find((word) => word === value)
    if (found !== undefined) return found
    context.addIssue({ code: 'custom', message: `=${value} ${NOT_SUPPORTED}` })
    return z.NEVER
  })
}

/** A boolean that must be off in this version. */
export function offOnly() {
  return onOff().refine((value) => !value, { error: () => `=on ${NOT_SUPPORTED}` })
}

/** "a, b or c" */
export function listWords(words: readonly string[]): string {
  return words.length < 2 ? words.join('') : `${words.slice(0, -1).join(', ')} or ${words.at(-1)}`
}
