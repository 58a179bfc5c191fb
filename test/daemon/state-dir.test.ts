import { readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { openStateDir } from '../../daemon/state-dir.js'
import { tempDir } from '../support/temp-dir.js'

t.test('a directory that is there, or is made', async (t) => {
  const path = join(tempDir(t), 'state')
  const bootId = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()
  t.same(openStateDir(path), { path, bootId })
  t.equal(statSync(path).mode & 0o777, 0o700)
  t.same(openStateDir(path), { path, bootId })
})

t.test('faults', async (t) => {
  const directory = tempDir(t)
  const file = join(directory, 'file')
  writeFileSync(file, '')
  t.throws(() => openStateDir(file), { code: 'ENOTDIR', message: `state-dir: ${file}: not a directory` })
  t.throws(() => openStateDir(join(directory, 'a', 'b')), { code: 'ENOENT' })
})
