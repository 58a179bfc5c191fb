import assert from 'node:assert/strict'
import { constants } from 'node:fs'
import { join } from 'node:path'
import { createEventfd, drainEventfd, ERRNO, fileSize, IOVEC, Mapping, openFd, raw, signalEventfd } from 'memfd-mmap'
import type { Test } from 'tap'
import { FADV_WILLNEED, FALLOC_FL, PENDING, RWF_DSYNC } from '../../../iothreads/block-io.js'
import type { EngineHandler, EventEngine } from '../../../iothreads/event-engine.js'
import { openFiles, sharedMappings } from '../proc.js'
import { tempDir } from '../temp-dir.js'
import { imageFd } from './units.js'

/** What an engine delivered, in order. */
export class Recorder implements EngineHandler {
  readonly completions: { id: number; result: number }[] = []
  readonly tokens: number[] = []

  completed(id: number, result: number): void {
    this.completions.push({ id, result })
  }

  readable(token: number): void {
    this.tokens.push(token)
  }
}

const DEADLINE = 10_000

/** Turns the engine until `done` says so. */
export function turn(engine: EventEngine, done: () => boolean): void {
  for (const end = performance.now() + DEADLINE; !done(); ) {
    if (performance.now() > end) throw new Error('it never comes')
    engine.submit()
    if (engine.reap() === 0 && !done()) engine.wait(1e6)
  }
}

/** The result of an I/O, at once or later. */
export function perform(engine: EventEngine, recorder: Recorder, id: number, io: (id: number) => number): number {
  const result = io(id)
  if (result !== PENDING) return result
  const found = (): number => recorder.completions.findIndex((completion) => completion.id === id)
  turn(engine, () => found() >= 0)
  return recorder.completions.splice(found(), 1)[0]!.result
}

/** What every EventEngine does, whatever it is built on. */
export function engineSuite(t: Test, create: (handler: EngineHandler) => EventEngine): void {
  const make = (t: Test): { engine: EventEngine; recorder: Recorder } => {
    const recorder = new Recorder()
    const engine = create(recorder)
    t.teardown(() => engine.close())
    return { engine, recorder }
  }
  const eventfd = (t: Test, initial = 0): number => {
    const fd = createEventfd(initial)
    t.teardown(() => raw.close(fd))
    return fd
  }

  t.test('a watched descriptor is reported by its token, each time it is written, and not read', async (t) => {
    const { engine, recorder } = make(t)
    const fds = [eventfd(t), eventfd(t), eventfd(t)]
    fds.forEach((fd, i) => {
      engine.watch(fd, 10 * i)
    })
    engine.submit()
    t.equal(engine.reap(), 0)
    for (let round = 1; round <= 50; round++) {
      for (const i of [2, 0]) {
        signalEventfd(fds[i]!)
        turn(engine, () => recorder.tokens.length > 0)
        assert.deepEqual(recorder.tokens.splice(0), [10 * i])
      }
    }
    t.strictSame(fds.map(drainEventfd), [50, 0, 50])
  })

  t.test('what was written before the watch is reported', async (t) => {
    const { engine, recorder } = make(t)
    engine.watch(eventfd(t, 3), 5)
    turn(engine, () => recorder.tokens.length > 0)
    t.strictSame(recorder.tokens, [5])
  })

  t.test('nothing is reported after the end of a watch, even if it was under way', async (t) => {
    const { engine, recorder } = make(t)
    for (let round = 0; round < 200; round++) {
      const fd = createEventfd()
      engine.watch(fd, 7)
      engine.submit()
      // In some rounds the kernel has seen the write, and not told of it, when the watch is to end.
      if (round % 2 === 0) signalEventfd(fd)
      if (round % 4 === 0) engine.submit()
      engine.unwatch(fd, 7)
      turn(engine, () => engine.unwatched(7))
      engine.reap()
      recorder.tokens.length = 0
      signalEventfd(fd)
      engine.submit()
      engine.reap()
      assert.deepEqual(recorder.tokens, [])
      assert.equal(raw.close(fd), 0)
    }
  })

  t.test('a watch that is started and ended at once', async (t) => {
    const { engine, recorder } = make(t)
    const fd = eventfd(t, 1)
    engine.watch(fd, 3)
    engine.unwatch(fd, 3)
    engine.unwatch(fd, 3)
    turn(engine, () => engine.unwatched(3))
    engine.submit()
    engine.reap()
    recorder.tokens.length = 0
    engine.watch(fd, 3)
    turn(engine, () => recorder.tokens.length > 0)
    t.strictSame(recorder.tokens, [3])
  })

  t.test('a wait ends at its limit, or with an event', async (t) => {
    const { engine, recorder } = make(t)
    const fd = eventfd(t)
    engine.watch(fd, 1)
    engine.submit()
    engine.reap()
    for (const limit of [1, 1e6, 30e6]) {
      const start = process.hrtime.bigint()
      engine.wait(limit)
      t.ok(Number(process.hrtime.bigint() - start) >= limit)
      t.strictSame(recorder.tokens, [])
    }
    signalEventfd(fd)
    engine.wait(3600e9)
    engine.reap()
    t.strictSame(recorder.tokens, [1])
  })

  for (const place of ['file', 'tmpfs'] as const) {
    t.test(`transfers, flush and deallocation: ${place}`, async (t) => {
      const { engine, recorder } = make(t)
      const fd = imageFd(t, 0, place)
      const memory = Mapping.anonymous(2 ** 16)
      t.teardown(() => memory.unmap())
      const bytes = new Uint8Array(memory.view())
      const iov = new Uint32Array(memory.view(0, 64))
      const { io } = engine
      const far = 5 * 2 ** 32 + 4096
      const at = memory.address
      const source = at + 4096
      const target = at + 8192
      const point = (i: number, address: number, length: number): void => {
        const word = (i * IOVEC.SIZE) / 4
        iov[word] = address
        iov[word + 1] = address / 2 ** 32
        iov[word + 2] = length
        iov[word + 3] = 0
      }
      let id = 0
      const run = (f: (id: number) => number): number => perform(engine, recorder, ++id, f)
      for (let i = 0; i < 4096; i++) bytes[4096 + i] = (i * 7) % 251
      for (const flags of [0, RWF_DSYNC]) {
        bytes.fill(0, 8192)
        t.equal(
          run((id) => io.transfer(id, true, fd, source, 4000, far, flags)),
          4000,
        )
        t.equal(
          run((id) => io.transfer(id, false, fd, target, 4000, far, 0)),
          4000,
        )
        t.strictSame(bytes.slice(8192, 12192), bytes.slice(4096, 8096))
        point(0, source + 100, 1000)
        point(1, source, 24)
        t.equal(
          run((id) => io.transferVector(id, true, fd, at, 2, far, flags)),
          1024,
        )
        point(0, target, 24)
        point(1, target + 100, 1)
        point(2, target + 200, 999)
        t.equal(
          run((id) => io.transferVector(id, false, fd, at, 3, far, 0)),
          1024,
        )
        t.strictSame(bytes.slice(8192, 8192 + 24), bytes.slice(4196, 4220))
        t.equal(bytes[8292], bytes[4220])
        t.strictSame(bytes.slice(8392, 8392 + 975), bytes.slice(4221, 5196))
        t.strictSame(bytes.slice(8392 + 975, 8392 + 999), bytes.slice(4096, 4120))
      }
      t.equal(fileSize(fd), far + 4000)
      t.equal(
        run((id) => io.transfer(id, false, fd, target, 4096, far + 3000, 0)),
        1000,
        'a short read',
      )
      t.equal(
        run((id) => io.transfer(id, false, fd, target, 4096, far + 2 ** 33, 0)),
        0,
        'a read behind the end',
      )
      t.equal(
        run((id) => io.flush(id, fd)),
        0,
      )
      t.equal(
        run((id) => io.fallocate(id, fd, FALLOC_FL.PUNCH_HOLE | FALLOC_FL.KEEP_SIZE, far, 2048)),
        0,
      )
      run((id) => io.transfer(id, false, fd, target, 4000, far, 0))
      t.ok(bytes.slice(8192, 8192 + 2048).every((byte) => byte === 0))
      t.ok(bytes.slice(8192 + 2048, 8192 + 4000).some((byte) => byte !== 0))
      const zeroed = run((id) => io.fallocate(id, fd, FALLOC_FL.ZERO_RANGE | FALLOC_FL.KEEP_SIZE, far, 4000))
      t.ok(zeroed === 0 || zeroed === -ERRNO.EOPNOTSUPP)
      if (place === 'tmpfs') t.equal(zeroed, -ERRNO.EOPNOTSUPP)
      for (const length of [4096, 2 ** 40]) {
        t.equal(
          run((id) => io.fadvise(id, fd, far, length, FADV_WILLNEED)),
          0,
        )
      }
    })
  }

  t.test('errors are results', async (t) => {
    const { engine, recorder } = make(t)
    const directory = tempDir(t)
    const path = join(directory, 'image')
    const fd = openFd(path, constants.O_RDWR | constants.O_CREAT)
    const readOnly = openFd(path, constants.O_RDONLY)
    const memory = Mapping.anonymous(4096)
    t.teardown(() => {
      raw.close(fd)
      raw.close(readOnly)
      memory.unmap()
    })
    const { io } = engine
    const run = (f: (id: number) => number): number => perform(engine, recorder, 1, f)
    t.equal(
      run((id) => io.transfer(id, true, readOnly, memory.address, 512, 0, 0)),
      -ERRNO.EBADF,
    )
    t.equal(
      run((id) => io.transfer(id, true, fd, 4096, 512, 0, 0)),
      -ERRNO.EFAULT,
    )
    t.equal(
      run((id) => io.transferVector(id, true, fd, 4096, 2, 0, 0)),
      -ERRNO.EFAULT,
    )
    t.equal(
      run((id) => io.flush(id, 99_999)),
      -ERRNO.EBADF,
    )
    t.equal(
      run((id) => io.fallocate(id, fd, 0, 0, 0)),
      -ERRNO.EINVAL,
    )
    t.equal(
      run((id) => io.fallocate(id, readOnly, 3, 0, 512)),
      -ERRNO.EBADF,
    )
    t.equal(
      run((id) => io.fadvise(id, fd, 0, 512, 99)),
      -ERRNO.EINVAL,
    )
  })

  t.test('a close leaves nothing', async (t) => {
    const files = openFiles(process.pid).size
    const mappings = sharedMappings(process.pid).length
    const fd = eventfd(t)
    for (let i = 0; i < 20; i++) {
      const engine = create(new Recorder())
      engine.watch(fd, 0)
      engine.submit()
      engine.close()
    }
    t.equal(openFiles(process.pid).size, files + 1)
    t.equal(sharedMappings(process.pid).length, mappings)
  })
}
