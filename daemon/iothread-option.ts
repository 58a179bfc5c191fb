import { type IothreadSettings, iothreadSchema } from './config-schema.js'
import { parseKeyValue } from './key-value.js'
import { validate } from './validate.js'

/** `--iothread=id=NAME[,cpus=0-3+6][,poll-max-ns=N][,poll-grow=N][,poll-shrink=N]`. Throws UsageError or ConfigError. */
export function parseIothreadOption(text: string): IothreadSettings {
  const where = `--iothread=${text}`
  return validate(iothreadSchema, parseKeyValue(text, where), where)
}
