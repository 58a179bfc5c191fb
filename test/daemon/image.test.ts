import { execFileSync } from 'node:child_process'
import { chmodSync, chownSync, mkdirSync, realpathSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import t from 'tap'
import { inspectImage } from '../../daemon/image.js'
import { tempDir } from '../support/temp-dir.js'

const NOBODY = 65534

t.test('an image', (t) => {
  const dir = tempDir(t)
  const path = join(dir, 'disk.img')
  writeFileSync(path, '')
  truncateSync(path, 8192)
  const image = { path: realpathSync(path), size: 8192 }
  t.strictSame(inspectImage(path, false, 4096), image)
  t.strictSame(inspectImage(path, true, 512), image)
  symlinkSync('disk.img', join(dir, 'link'))
  t.strictSame(inspectImage(join(dir, 'link'), false, 512), image, 'the resolved path')
  t.end()
})

t.test('what is no image', async (t) => {
  const dir = tempDir(t)
  const at = (name: string) => join(dir, name)
  mkdirSync(at('dir'))
  execFileSync('mkfifo', [at('fifo')])
  writeFileSync(at('odd'), 'x'.repeat(1000))
  writeFileSync(at('empty'), '')
  symlinkSync('loop', at('loop'))
  const server = createServer()
  await new Promise<void>((done) => server.listen(at('sock'), done))
  t.teardown(() => server.close())
  const cases: [string, string][] = [
    ['none', 'no such file or directory'],
    ['odd/x', 'a part of the path is not a directory'],
    ['loop', 'too many levels of symbolic links'],
    ['dir', 'is a directory, expected a regular file'],
    ['fifo', 'is a FIFO, expected a regular file'],
    ['sock', 'is a socket, expected a regular file'],
    ['empty', 'is empty, expected a disk image'],
    ['odd', 'its size 1000 is not a multiple of the block size 512'],
  ]
  for (const [name, fault] of cases) t.equal(inspectImage(at(name), false, 512), `${at(name)}: ${fault}`)
  t.match(inspectImage('/dev/null', false, 512), /is a character device, expected a regular file/)
})

t.test('an image without access', (t) => {
  const dir = tempDir(t)
  const path = join(dir, 'disk.img')
  writeFileSync(path, 'x'.repeat(512))
  // Root may open anything: for a moment this process is nobody.
  const root = process.getuid?.() === 0
  if (root) {
    chownSync(dir, NOBODY, NOBODY)
    chownSync(path, NOBODY, NOBODY)
    process.seteuid?.(NOBODY)
  }
  try {
    chmodSync(path, 0o400)
    t.equal(inspectImage(path, false, 512), `${path}: permission denied; read-only=on would need no write access`)
    t.match(inspectImage(path, true, 512), { size: 512 })
    chmodSync(path, 0)
    t.equal(inspectImage(path, true, 512), `${path}: permission denied`)
  } finally {
    if (root) process.seteuid?.(0)
  }
  t.end()
})

t.test('an image that is being executed cannot be written', (t) => {
  t.match(inspectImage(process.execPath, true, 1), { size: Number })
  t.match(inspectImage(process.execPath, false, 1), /read-only=on would need no write access$/)
  t.end()
})
