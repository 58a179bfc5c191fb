import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { tempDir } from '../temp-dir.js'
import { resolveModules } from './modules.js'

t.test('what a module needs comes first, once', async (t) => {
  const dir = tempDir(t)
  writeFileSync(join(dir, 'modules.dep'), 'k/a-b.ko.xz: k/c.ko k/d.ko\nk/c.ko: k/d.ko\nk/d.ko:\nk/e.ko: k/d.ko\n')
  writeFileSync(join(dir, 'modules.builtin'), 'k/in_kernel.ko\n')
  const names = ['a_b', 'in-kernel', 'e']
  t.same(
    resolveModules(dir, names),
    ['k/d.ko', 'k/c.ko', 'k/a-b.ko.xz', 'k/e.ko'].map((path) => join(dir, path)),
  )
  t.throws(() => resolveModules(dir, ['f']), /no kernel module f/)
})
