import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { DISK_COMMANDS } from '../../scsi/cdb-table.js'
import { commandRow, conformancePage } from '../support/scsi-conformance.js'

const ROOT = join(import.meta.dirname, '..', '..', '..')

t.test('the page is what npm run docs writes', async (t) => {
  const page = readFileSync(join(ROOT, 'docs', 'scsi-conformance.md'), 'utf8')
  t.equal(page, conformancePage(), 'npm run docs')
})

t.test('every command has its vectors', async (t) => {
  for (const command of DISK_COMMANDS.commands) {
    const { name, test } = commandRow(command)
    const path = join(ROOT, test)
    if (!t.ok(existsSync(path), test)) continue
    const { opcode } = command
    // As hex text, as a number, by its name, or made of the ten byte form's.
    const codes = [opcode, (opcode & 0x1f) | 0x20].map((byte) => byte.toString(16).padStart(2, '0')).join('|')
    const vector = new RegExp(`['\`"\\s](?:${codes})[ '\`$]|0x(?:${codes})\\b|OPCODE\\.`)
    t.match(readFileSync(path, 'utf8'), vector, `${name} in ${test}`)
  }
})
