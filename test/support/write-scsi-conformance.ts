/** Writes docs/scsi-conformance.md anew: `npm run docs`. */
import { writeFileSync } from 'node:fs'
import { conformancePage } from './scsi-conformance.js'

writeFileSync(new URL('../../../docs/scsi-conformance.md', import.meta.url), conformancePage())
