import { chmodSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { tempDir } from '../temp-dir.js'
import { CpioWriter } from './cpio.js'

/** Reads an archive as the kernel does (init/initramfs.c): name -> mode and content, in order. */
const entries = (archive: Buffer): { name: string; mode: number; content: string }[] => {
  const found = []
  for (let offset = 0; offset < archive.length; ) {
    const field = (index: number): number =>
      Number.parseInt(archive.toString('ascii', offset + 6 + index * 8).slice(0, 8), 16)
    t.equal(archive.toString('ascii', offset, offset + 6), '070701')
    const name = archive.toString('utf8', offset + 110, offset + 110 + field(11) - 1)
    const data = (offset + 110 + field(11) + 3) & ~3
    found.push({ name, mode: field(1), content: archive.toString('utf8', data, data + field(6)) })
    offset = (data + field(6) + 3) & ~3
  }
  return found
}

t.test('files come after their directories and end with the trailer', async (t) => {
  const dir = tempDir(t)
  const source = join(dir, 'source')
  writeFileSync(source, 'from a file')
  chmodSync(source, 0o750)
  symlinkSync('source', join(dir, 'link'))

  const archive = new CpioWriter()
  archive.file({ name: '/a/b/text', content: 'odd', mode: 0o600 })
  archive.file({ name: '/a/link', source: join(dir, 'link') })
  archive.file({ name: '/a/link', content: 'too late', mode: 0o600 })
  archive.directory('/dev')
  t.same(entries(archive.end()), [
    { name: 'a', mode: 0o040755, content: '' },
    { name: 'a/b', mode: 0o040755, content: '' },
    { name: 'a/b/text', mode: 0o100600, content: 'odd' },
    { name: 'a/link', mode: 0o100750, content: 'from a file' },
    { name: 'dev', mode: 0o040755, content: '' },
    { name: 'TRAILER!!!', mode: 0, content: '' },
  ])
})
