import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { constants, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { createMemfd, ERRNO, Mapping, openFd, raw } from 'memfd-mmap'
import t from 'tap'
import { PENDING } from '../../iothreads/block-io.js'
import { UringEngine } from '../../iothreads/uring-engine.js'
import { engineSuite, perform, Recorder, turn } from '../support/iothreads/engine-suite.js'
import { tempDir } from '../support/temp-dir.js'

engineSuite(t, (handler) => new UringEngine(handler))

t.test('a descriptor that cannot be watched is tried once', async (t) => {
  const recorder = new Recorder()
  const engine = new UringEngine(recorder)
  t.teardown(() => engine.close())
  engine.watch(99_999, 4)
  engine.submit()
  let events = 0
  for (let i = 0; i < 20; i++) {
    events += engine.reap()
    engine.submit()
  }
  t.equal(events, 1)
  t.strictSame(recorder.tokens, [])
  t.equal(engine.unwatched(4), true)
  engine.unwatch(99_999, 4)
  t.equal(engine.unwatched(4), true)
})

t.test('registered files: more users than one, more files than places, none left behind', async (t) => {
  const recorder = new Recorder()
  const engine = new UringEngine(recorder)
  const memory = Mapping.anonymous(4096)
  t.teardown(() => {
    engine.close()
    memory.unmap()
  })
  const bytes = new Uint8Array(memory.view())
  const sync = (fd: number, write: boolean): number =>
    perform(engine, recorder, 1, (id) => engine.transfer(id, write, fd, memory.address, 8, 0, 0))
  const fds = Array.from({ length: 1030 }, (_, i) => createMemfd(`file${i}`, 8))
  for (const fd of fds) engine.addFile(fd)
  for (const [i, fd] of fds.entries()) {
    bytes.fill(i & 0xff)
    assert.equal(sync(fd, true), 8)
  }
  engine.addFile(fds[3]!)
  engine.removeFile(fds[3]!)
  for (const [i, fd] of fds.entries()) {
    assert.equal(sync(fd, false), 8)
    assert.equal(bytes[7], i & 0xff)
  }
  for (const fd of fds) engine.removeFile(fd)
  t.equal(sync(fds[0]!, false), 8, 'by its descriptor')
  for (const fd of fds) raw.close(fd)
  t.equal(sync(fds[0]!, false), -ERRNO.EBADF)
})

t.test('more in flight than both rings hold', async (t) => {
  const COUNT = 6000
  const recorder = new Recorder()
  const engine = new UringEngine(recorder)
  const fd = createMemfd('engine', COUNT * 8)
  const memory = Mapping.anonymous(COUNT * 8)
  t.teardown(() => {
    engine.close()
    raw.close(fd)
    memory.unmap()
  })
  const numbers = new Float64Array(memory.view())
  for (let i = 0; i < COUNT; i++) numbers[i] = i * 1.5
  for (const write of [true, false]) {
    recorder.completions.length = 0
    // Ids as large as they get: a queue's slot in the high half.
    const id = (i: number): number => (0xffff0000 | i) >>> 0
    for (let i = 0; i < COUNT; i++) {
      if (engine.transfer(id(i), write, fd, memory.address + 8 * i, 8, 8 * i, 0) !== PENDING) throw new Error('ended')
    }
    turn(engine, () => recorder.completions.length >= COUNT)
    t.equal(recorder.completions.length, COUNT)
    t.ok(recorder.completions.every(({ result }) => result === 8))
    t.equal(new Set(recorder.completions.map(({ id }) => id >>> 0)).size, COUNT)
    t.ok(numbers.every((number, i) => number === i * 1.5))
    numbers.fill(0)
  }
})

t.test('a transfer that waits can be cancelled, and ends once', async (t) => {
  const recorder = new Recorder()
  const engine = new UringEngine(recorder)
  const path = join(tempDir(t), 'fifo')
  execFileSync('mkfifo', [path])
  const fifo = openFd(path, constants.O_RDWR)
  const memory = Mapping.anonymous(4096)
  t.teardown(() => {
    engine.close()
    raw.close(fifo)
    memory.unmap()
  })
  for (const id of [1, 2, 3]) engine.transfer(id, false, fifo, memory.address, 8, 0, 0)
  engine.submit()
  engine.reap()
  t.strictSame(recorder.completions, [])
  engine.cancel(2)
  engine.cancel(77)
  turn(engine, () => recorder.completions.length > 0)
  t.strictSame(recorder.completions, [{ id: 2, result: -ERRNO.ECANCELED }])
  engine.cancel(1)
  engine.cancel(3)
  turn(engine, () => recorder.completions.length >= 3)
  engine.cancel(1)
  engine.submit()
  engine.reap()
  t.equal(recorder.completions.length, 3)
})

t.test('the ring is not inherited by other programs', async (t) => {
  const engine = new UringEngine(new Recorder())
  t.teardown(() => engine.close())
  const fds = execFileSync('ls', ['-l', '/proc/self/fd'], { encoding: 'utf8' })
  t.notMatch(fds, /io_uring/)
  t.match(readFileSync('/proc/self/maps', 'latin1'), /io_uring/)
})
