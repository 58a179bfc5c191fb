import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import {
  close,
  createHugeMemfd,
  createMemfd,
  filePageSize,
  MAX_VIEW,
  Mapping,
  memcmp,
  pread,
  pwrite,
  UnmappedError,
  viewMemory,
} from 'memfd-mmap'
import t from 'tap'
import { HUGE_PAGE, hugePages } from '../support/huge-pages.js'
import { run } from './children/run.js'

const GIB = 2 ** 30

function mapped(address: number): boolean {
  return readFileSync('/proc/self/maps', 'utf8').includes(`\n${address.toString(16)}-`)
}

t.test('a shared mapping and the file are the same bytes', async (t) => {
  const fd = createMemfd('mapping', 8192)
  t.teardown(() => close(fd))
  const mapping = Mapping.map({ fd, length: 8192 })
  const second = Mapping.map({ fd, offset: 4096, length: 4096 })
  t.teardown(() => {
    mapping.unmap()
    second.unmap()
  })
  const bytes = new Uint8Array(mapping.view())
  t.equal(bytes.length, 8192)
  bytes[4096] = 42
  t.equal(new Uint8Array(second.view())[0], 42)
  t.equal(memcmp(mapping.address + 4096, second.address, 4096), 0)
  t.equal(pwrite(fd, mapping.address + 4096, 1, 10), 1)
  t.equal(bytes[10], 42)
  t.equal(new Uint8Array(mapping.view(10, 1))[0], 42)
  t.equal(mapping.views, 2)
})

t.test(
  'a private mapping keeps its writes to itself, a read-only one cannot be written through the kernel',
  async (t) => {
    const fd = createMemfd('mapping', 4096)
    t.teardown(() => close(fd))
    const mapping = Mapping.map({ fd, length: 4096, shared: false })
    const readOnly = Mapping.map({ fd, length: 4096, writable: false })
    t.teardown(() => {
      mapping.unmap()
      readOnly.unmap()
    })
    new Uint8Array(mapping.view())[0] = 1
    t.equal(new Uint8Array(readOnly.view())[0], 0)
    t.equal(pread(fd, readOnly.address, 16, 0), -14, 'EFAULT')
  },
)

t.test('anonymous memory is zeroed and may be larger than what the machine has', async (t) => {
  const mapping = Mapping.anonymous(64 * GIB)
  t.teardown(() => mapping.unmap())
  const bytes = new Uint8Array(mapping.view(63 * GIB, 4096))
  t.ok(bytes.every((byte) => byte === 0))
  bytes[0] = 1
})

t.test('impossible mappings are refused', async (t) => {
  const fd = createMemfd('mapping', 4096)
  t.teardown(() => close(fd))
  t.throws(() => Mapping.map({ fd: -1, length: 4096 }), { code: 'EBADF', syscall: 'mmap' })
  t.throws(() => Mapping.map({ fd, length: 4096, offset: 5 }), { code: 'EINVAL' })
  t.throws(() => Mapping.map({ fd, length: 2 ** 48 }), { code: 'ENOMEM' })
  for (const length of [0, -1, 0.5, Number.NaN, 2 ** 53]) {
    t.throws(() => Mapping.map({ fd, length }), RangeError, `length ${length}`)
    t.throws(() => Mapping.anonymous(length), RangeError)
  }
  t.throws(() => Mapping.map({ fd, length: 4096, offset: -4096 }), RangeError)
})

t.test('views are checked against the mapping and against MAX_VIEW', async (t) => {
  const mapping = Mapping.anonymous(5 * GIB)
  t.teardown(() => mapping.unmap())
  t.equal(mapping.view(0, MAX_VIEW).byteLength, MAX_VIEW)
  t.throws(() => mapping.view(0, MAX_VIEW + 1), RangeError)
  t.throws(() => mapping.view(), RangeError, 'the whole is too long')
  t.throws(() => mapping.view(5 * GIB - 1, 2), RangeError)
  t.throws(() => mapping.view(-1, 1), RangeError)
  t.throws(() => mapping.view(0, -1), RangeError)
  t.throws(() => mapping.view(0.5, 1), RangeError)
  t.throws(() => mapping.view(Number.NaN, 1), RangeError)
  t.equal(mapping.view(5 * GIB).byteLength, 0)
  t.equal(mapping.views, 2, 'refused views do not count')
  t.throws(() => viewMemory(mapping.address, MAX_VIEW + 1), RangeError)
  t.throws(() => viewMemory(0, 1), RangeError)
  t.throws(() => viewMemory(-4096, 1), RangeError)
  t.throws(() => viewMemory(mapping.address, Number.NaN), RangeError)
})

t.test('windows over a sparse file of 5 GiB reach its far end', async (t) => {
  const size = 5 * GIB
  const fd = createMemfd('sparse', size)
  t.teardown(() => close(fd))
  const mapping = Mapping.map({ fd, length: size })
  t.teardown(() => mapping.unmap())
  const windows: Uint8Array[] = []
  for (let at = 0; at < size; at += MAX_VIEW) windows.push(new Uint8Array(mapping.view(at, MAX_VIEW)))
  t.equal(windows.length, 5)
  windows[4]![MAX_VIEW - 1] = 0x77
  windows[3]![MAX_VIEW - 1] = 0x66
  const probe = new Uint8Array(Mapping.map({ fd, offset: size - 4096, length: 4096 }).view())
  t.equal(probe[4095], 0x77)
  probe[0] = 0x55
  t.equal(windows[4]![MAX_VIEW - 4096], 0x55)
  t.equal(new Uint8Array(viewMemory(mapping.address + 4 * GIB - 1, 1))[0], 0x66)
})

t.test('unmap gives the addresses back, once; afterwards there are no views', async (t) => {
  const mapping = Mapping.anonymous(4096)
  t.ok(mapped(mapping.address))
  mapping.unmap()
  t.notOk(mapped(mapping.address))
  // Whatever gets these addresses next must survive the second call.
  mapping.unmap()
  mapping.retire()
  t.notOk(mapped(mapping.address), 'retire() after unmap() maps nothing')
  t.throws(() => mapping.view(), UnmappedError)
  t.throws(() => mapping.view(), { code: 'VUS_UNMAPPED' })
})

t.test('a retired mapping shows zeros to a stale view and to the kernel, and lets the file go', async (t) => {
  const { code, signal, stdout } = await run('stale-view', ['retire'])
  t.match({ code, signal }, { code: 0, signal: null })
  t.strictSame(JSON.parse(stdout), { zeros: true, last: 1, inFlight: 4096 })

  const mapping = Mapping.anonymous(4096)
  mapping.retire()
  mapping.retire()
  t.ok(mapped(mapping.address))
  t.throws(() => mapping.view(), UnmappedError)
  mapping.unmap()
  t.notOk(mapped(mapping.address))
})

t.test('what retire() is there for: the same access crashes otherwise', async (t) => {
  t.match(await run('stale-view', ['unmap']), { signal: 'SIGSEGV', stdout: '' })
  t.match(await run('stale-view', ['truncate']), { signal: 'SIGBUS', stdout: '' })
})

t.test('atomics work between processes', async (t) => {
  const rounds = 2_000_000
  const fd = createMemfd('atomics', 4096)
  t.teardown(() => close(fd))
  const memory = Mapping.map({ fd, length: 4096 }).view()
  const words = new Int32Array(memory)
  const halves = new Uint16Array(memory, 64, 8)
  const file = join(import.meta.dirname, 'children', 'atomic-adder.js')
  const child = spawn(process.execPath, [file, String(rounds)], { stdio: ['ignore', 'inherit', 'inherit', fd] })
  t.teardown(() => child.kill('SIGKILL'))
  const ended = once(child, 'exit')
  // Both start together, or they might not meet at all.
  while (Atomics.load(words, 1) === 0 && child.exitCode === null) await new Promise(setImmediate)
  Atomics.store(words, 2, 1)
  for (let i = 0; i < rounds; i++) {
    Atomics.add(words, 0, 1)
    Atomics.add(halves, 0, 1)
  }
  t.strictSame(await ended, [0, null])
  t.equal(words[0], 2 * rounds)
  t.equal(halves[0], (2 * rounds) % 65536)
  t.strictSame([...halves.subarray(1)], [0, 0, 0, 0, 0, 0, 0], 'the neighbours are untouched')
})

t.test(
  'a low mapping lies below 2^31, or elsewhere when there is no room',
  { skip: process.arch === 'x64' ? false : 'x86-64 only' },
  async (t) => {
    const fd = createMemfd('low', 3 * 2 ** 30)
    t.teardown(() => close(fd))
    const low = Mapping.map({ fd, length: 65536, low: true })
    t.ok(low.address + low.length <= 2 ** 31)
    new Uint8Array(low.view())[65535] = 7
    const other = Mapping.map({ fd, length: 3 * 2 ** 30, low: true })
    t.ok(other.address > 2 ** 31)
    t.equal(new Uint8Array(other.view(0, 65536))[65535], 7)
    low.unmap()
    other.unmap()
  },
)

t.test('huge pages are given back whole, however much of them was asked for', async (t) => {
  const missing = hugePages(t, 2)
  if (missing !== undefined) {
    t.pass(missing, { skip: missing })
    return
  }
  const fd = createHugeMemfd('huge', 2 * HUGE_PAGE)
  t.teardown(() => close(fd))
  t.equal(filePageSize(fd), HUGE_PAGE)
  const length = HUGE_PAGE + 4096
  const whole = Mapping.map({ fd, length })
  t.equal(new Uint8Array(whole.view(HUGE_PAGE)).length, 4096)
  t.throws(() => whole.view(0, length + 1), RangeError, 'no more than what was asked for')
  t.throws(() => Mapping.map({ fd, offset: 4096, length: 4096 }), { code: 'EINVAL' })
  const second = Mapping.map({ fd, offset: HUGE_PAGE, length: 100 })
  new Uint8Array(second.view())[99] = 7
  t.equal(new Uint8Array(whole.view(HUGE_PAGE + 99, 1))[0], 7)
  const retired = Mapping.map({ fd, length })
  retired.retire()
  for (const mapping of [whole, second, retired]) {
    t.ok(mapped(mapping.address))
    mapping.unmap()
    t.notOk(mapped(mapping.address))
  }
})
