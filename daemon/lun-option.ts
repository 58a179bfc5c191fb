import { type LunSettings, lunSchema } from './config-schema.js'
import { parseKeyValue } from './key-value.js'
import { validate } from './validate.js'

/** `--lun=KEY=VALUE[,KEY=VALUE...]`. Throws UsageError or ConfigError. */
export function parseLunOption(text: string): LunSettings {
  const where = `--lun=${text}`
  return validate(lunSchema, parseKeyValue(text, where), where)
}
