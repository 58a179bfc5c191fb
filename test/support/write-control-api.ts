/** Writes docs/control-api.json anew: `npm run docs`. */
import { writeFileSync } from 'node:fs'
import { createApp } from '../../daemon/control/app.js'
import { openApiDocument } from '../../daemon/control/openapi.js'
import { createLog } from '../../daemon/log.js'
import { FakeControlTarget } from './control-target.js'

const app = createApp(new FakeControlTarget(), createLog({ level: 'silent', format: 'json' }))
const file = new URL('../../../docs/control-api.json', import.meta.url)
writeFileSync(file, `${JSON.stringify(openApiDocument(app), null, 2)}\n`)
