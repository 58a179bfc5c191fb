import { z } from 'zod'
import { ConfigError } from './errors.js'

const MAX_SHOWN = 60

/**
 * Checks a value against a schema and returns what it stands for. Throws ConfigError with one fault per issue:
 * where, what, and what was expected.
 * @param where names the source in messages: an option, or a file
 */
export function validate<T extends z.ZodType>(schema: T, value: unknown, where: string): z.output<T> {
  const result = schema.safeParse(value)
  if (result.success) return result.data
  throw new ConfigError(result.error.issues.flatMap((issue) => describeIssue(issue, schema, value, where)))
}

/** One issue of a failed check: where, what, and what was expected; unknown keys make a fault each. */
export function describeIssue(issue: z.core.$ZodIssue, schema: z.ZodType, value: unknown, where: string): string[] {
  const place = [where, formatPath(issue.path)].filter((part) => part !== '').join(': ')
  if (issue.code === 'unrecognized_keys') {
    const known = knownKeys(schemaAt(schema, issue.path))
    return issue.keys.map((key) => `${place}: unknown key "${key}", expected one of ${known.join(', ')}`)
  }
  const message = issue.code === 'invalid_type' && issue.expected === 'object' ? 'expected an object' : issue.message
  const given = valueAt(value, issue.path)
  if (given === undefined) return [`${place}: missing, ${message}`]
  if (message.startsWith('expected')) return [`${place}: ${message}, got ${show(given)}`]
  // "... is not supported by this version", "...=on is not supported by this version"
  return [
    message.startsWith('=')
      ? place + message
      : message.startsWith('is ')
        ? `${place} ${message}`
        : `${place}: ${message}`,
  ]
}

/** `luns[0].size` */
function formatPath(path: readonly PropertyKey[]): string {
  let text = ''
  for (const step of path) text += typeof step === 'number' ? `[${step}]` : `${text === '' ? '' : '.'}${String(step)}`
  return text
}

function valueAt(value: unknown, path: readonly PropertyKey[]): unknown {
  return path.reduce<unknown>((at, step) => (at as Record<PropertyKey, unknown> | null | undefined)?.[step], value)
}

/** The schema that a path leads to, through lists and optional members. */
function schemaAt(schema: z.core.$ZodType, path: readonly PropertyKey[]): z.core.$ZodType | undefined {
  let at: z.core.$ZodType | undefined = unwrap(schema)
  for (const step of path) {
    if (at instanceof z.ZodArray) at = unwrap(at.element)
    else if (at instanceof z.ZodObject) at = unwrap(at.shape[String(step)])
    else return undefined
  }
  return at
}

function unwrap(schema: z.core.$ZodType | undefined): z.core.$ZodType | undefined {
  return schema instanceof z.ZodOptional ? unwrap(schema.unwrap()) : schema
}

/** The keys of an object schema that this version can do something with. */
function knownKeys(schema: z.core.$ZodType | undefined): string[] {
  if (!(schema instanceof z.ZodObject)) return []
  return Object.keys(schema.shape).filter((key) => !(unwrap(schema.shape[key]) instanceof z.ZodNever))
}

function show(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value)
  return text.length > MAX_SHOWN ? `${text.slice(0, MAX_SHOWN)}...` : text
}
