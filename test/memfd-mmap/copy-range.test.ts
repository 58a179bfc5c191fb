import { openSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { close, copyRange, createMemfd, Mapping } from 'memfd-mmap'
import t from 'tap'
import { tempDir } from '../support/temp-dir.js'

t.test('a range goes from file to file', async (t) => {
  const dir = tempDir(t)
  const source = join(dir, 'source')
  const destination = join(dir, 'destination')
  writeFileSync(source, Buffer.from(Array.from({ length: 10_000 }, (_, i) => i)))
  writeFileSync(destination, Buffer.alloc(20_000, 0xff))
  const from = openSync(source, 'r')
  const to = openSync(destination, 'r+')
  t.teardown(() => {
    close(from)
    close(to)
  })
  t.equal(await copyRange(from, 1000, to, 5000, 2000), 2000)
  const expected = Buffer.alloc(20_000, 0xff)
  readFileSync(source).copy(expected, 5000, 1000, 3000)
  t.same(readFileSync(destination), expected)
  t.equal(await copyRange(from, 9000, to, 0, 5000), 1000, 'as much as there is')
  t.equal(await copyRange(from, 10_000, to, 0, 5000), 0, 'the end')
  t.equal(statSync(destination).size, 20_000)
})

t.test('many at once', async (t) => {
  const path = join(tempDir(t), 'file')
  writeFileSync(path, Buffer.from(Array.from({ length: 65536 }, (_, i) => i >>> 8)))
  const fd = openSync(path, 'r+')
  t.teardown(() => close(fd))
  const copies = Array.from({ length: 64 }, (_, i) => copyRange(fd, i * 256, fd, 65536 + (63 - i) * 256, 256))
  t.same(await Promise.all(copies), new Array(64).fill(256))
  const bytes = readFileSync(path)
  for (let i = 0; i < 64; i++) t.equal(bytes[65536 + i * 256], 63 - i)
})

t.test('memfds', async (t) => {
  const fd = createMemfd('copy-range', 2 ** 20)
  const mapping = Mapping.map({ fd, length: 2 ** 20 })
  t.teardown(() => {
    mapping.unmap()
    close(fd)
  })
  const bytes = new Uint8Array(mapping.view())
  bytes.fill(7, 0, 4096)
  t.equal(await copyRange(fd, 0, fd, 2 ** 19, 4096), 4096)
  t.equal(bytes[2 ** 19 + 4095], 7)
})

t.test('what the kernel does not copy', async (t) => {
  const fd = createMemfd('copy-range', 4096)
  t.teardown(() => close(fd))
  t.equal(await copyRange(fd, 0, fd, 100, 1000), -1, 'a range onto itself')
  t.equal(await copyRange(-1, 0, fd, 0, 1), -1)
})
