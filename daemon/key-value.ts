/**
 * QEMU's option syntax: KEY=VALUE[,KEY=VALUE...], where `,,` inside a value is one comma.
 */
import { UsageError } from './errors.js'

/**
 * Splits an option into its pairs, values as written. Throws UsageError for a part without `=`, an empty key, an empty
 * part, or a key given twice.
 * @param where names the option in messages, as `--lun`
 */
export function parseKeyValue(text: string, where: string): Record<string, string> {
  const pairs = new Map<string, string>()
  for (const part of splitParts(text)) {
    const equals = part.indexOf('=')
    if (equals <= 0) throw new UsageError(`${where}: expected KEY=VALUE, got ${JSON.stringify(part)}`)
    const key = part.slice(0, equals)
    if (pairs.has(key)) throw new UsageError(`${where}: key "${key}" is given twice`)
    pairs.set(key, part.slice(equals + 1))
  }
  return Object.fromEntries(pairs)
}

/** A value as it is written inside an option. */
export function escapeValue(value: string): string {
  return value.replaceAll(',', ',,')
}

function splitParts(text: string): string[] {
  const parts: string[] = []
  let part = ''
  for (let i = 0; i < text.length; i++) {
    if (text[i] !== ',') part += text[i]
    else if (text[i + 1] === ',') {
      part += ','
      i++
    } else {
      parts.push(part)
      part = ''
    }
  }
  parts.push(part)
  return parts
}
