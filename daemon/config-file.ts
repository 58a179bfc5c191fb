import { readFileSync } from 'node:fs'
import { configSchema, type Settings } from './config-schema.js'
import { ConfigError, errorReason } from './errors.js'
import { validate } from './validate.js'

/** Reads a JSON configuration. Throws ConfigError: not readable, not JSON, not of the schema. */
export function readConfigFile(path: string): Settings {
  return validate(configSchema, parseFile(path), path)
}

function parseFile(path: string): unknown {
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (error) {
    throw new ConfigError([`${path}: ${errorReason(error)}`])
  }
  try {
    return JSON.parse(text)
  } catch (error) {
    throw new ConfigError([`${path}: is not JSON: ${(error as Error).message}`])
  }
}
