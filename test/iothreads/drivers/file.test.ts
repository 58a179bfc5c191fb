import assert from 'node:assert/strict'
import { ERRNO } from 'memfd-mmap'
import t from 'tap'
import type { BlockIo } from '../../../iothreads/block-io.js'
import { FileDriver } from '../../../iothreads/drivers/file.js'
import type { Request } from '../../../iothreads/request.js'
import { MAX_SEGMENTS } from '../../../iothreads/request-table.js'
import { SyncIo } from '../../../iothreads/sync-io.js'
import { UringEngine } from '../../../iothreads/uring-engine.js'
import { perform, Recorder } from '../../support/iothreads/engine-suite.js'
import { SegmentRig, scatter, seeded } from '../../support/iothreads/request-with.js'
import { rounds } from '../../support/iothreads/rounds.js'
import { imageFd, readAll } from '../../support/iothreads/units.js'
import type { Teardown } from '../../support/teardown.js'

const SIZE = 2 ** 20

/** I/O of one kind, and the result of each operation, at once or later. */
interface Way {
  readonly io: BlockIo
  run(request: Request, operation: () => number): number
}

const ways: Record<string, (t: Teardown) => Way> = {
  io_uring: (t) => {
    const recorder = new Recorder()
    const engine = new UringEngine(recorder)
    t.teardown(() => engine.close())
    return { io: engine.io, run: (request, operation) => perform(engine, recorder, request.id, operation) }
  },
  'system calls': (t) => {
    const io = new SyncIo()
    t.teardown(() => io.close())
    return { io, run: (_request, operation) => operation() }
  },
}

for (const [name, open] of Object.entries(ways)) {
  t.test(`segments and the file, by ${name}`, async (t) => {
    const { io, run } = open(t)
    const rig = new SegmentRig(t, 2 * SIZE)
    const fd = imageFd(t, SIZE)
    const driver = new FileDriver(io, fd)
    const model = new Uint8Array(SIZE)
    const random = seeded(11)
    t.equal(driver.delayLine, null)
    for (let round = 0; round < rounds(60); round++) {
      const count = [1, 2, 3, 17, 200, MAX_SEGMENTS][round % 6]!
      const length = count + Math.floor(random() * 40_000)
      const offset = Math.floor(random() * (SIZE - length))
      const isWrite = random() < 0.5
      // The buffers may hold more than is moved, by a part of a segment or by whole ones.
      const segments = scatter(length + (round % 4 === 0 ? Math.floor(random() * 5000) : 0), count, random)
      for (const [start, size] of segments) for (let i = 0; i < size; i++) rig.bytes[start + i] = random() * 256
      const before = rig.content(segments)
      // Segments of the other direction stand beside them, and are let alone.
      const request = isWrite ? rig.request(segments) : rig.request([[2 * SIZE - 512, 512]], segments)
      Object.assign(request.task, { offset, length, fua: round % 3 === 0 })
      const result = run(request, () => driver.transfer(request, rig.table, isWrite))
      assert.equal(result, length)
      if (isWrite) model.set(before.subarray(0, length), offset)
      else before.set(model.subarray(offset, offset + length))
      assert.equal(Buffer.compare(rig.content(segments), before), 0, `round ${round}`)
      rig.table.give(request)
    }
    t.equal(Buffer.compare(readAll(fd, SIZE), model), 0)
  })

  t.test(`private buffers, flush, discard and zero, by ${name}`, async (t) => {
    const way = open(t)
    const rig = new SegmentRig(t, SIZE)
    const fd = imageFd(t, SIZE)
    const driver = new FileDriver(way.io, fd)
    const request = rig.request([])
    const run = (operation: () => number): number => way.run(request, operation)
    rig.bytes.fill(0x33)
    for (const sync of [false, true]) {
      t.equal(
        run(() => driver.buffer(request, true, rig.address, 100, 70_000, sync)),
        70_000,
      )
    }
    rig.bytes.fill(0)
    t.equal(
      run(() => driver.buffer(request, false, rig.address, 99, 3, true)),
      3,
    )
    t.strictSame([...rig.bytes.subarray(0, 4)], [0, 0x33, 0x33, 0])
    t.equal(
      run(() => driver.flush(request)),
      0,
    )
    t.equal(
      run(() => driver.discard(request, 8192, 4096)),
      0,
    )
    const zeroed = run(() => driver.zero(request, 16384, 4096))
    t.ok(zeroed === 0 || zeroed === -ERRNO.EOPNOTSUPP)
    const content = readAll(fd, SIZE)
    t.equal(content[8191], 0x33)
    t.ok(content.subarray(8192, 12288).every((byte) => byte === 0))
    t.equal(content[12288], 0x33)
    t.equal(content[16384], zeroed === 0 ? 0 : 0x33)
    t.equal(content.length, SIZE, 'nothing makes the file longer or shorter')
    t.equal(
      run(() => driver.prefetch(request, 0, SIZE)),
      0,
    )
    t.equal(driver.extent(8192, SIZE - 8192, false), 4096)
    t.equal(driver.extent(0, 100, true), 100)
  })
}

t.test('FUA asks for RWF_DSYNC, on writes only', async (t) => {
  const flags: number[] = []
  const io: BlockIo = {
    transfer: (...args) => flags.push(args[6]),
    transferSegment: (...args) => flags.push(args[5]),
    transferVector: (...args) => flags.push(args[6]),
    flush: () => 0,
    fallocate: () => 0,
    fadvise: () => 0,
  }
  const rig = new SegmentRig(t, 8192)
  const driver = new FileDriver(io, 3)
  const one = rig.request([[0, 512]], [[1024, 512]])
  const two = rig.request(
    [
      [0, 256],
      [300, 256],
    ],
    [
      [1024, 256],
      [2048, 256],
    ],
  )
  for (const request of [one, two]) {
    for (const write of [false, true]) {
      for (const fua of [false, true]) {
        Object.assign(request.task, { offset: 0, length: 512, fua })
        driver.transfer(request, rig.table, write)
      }
    }
  }
  for (const write of [false, true]) {
    for (const sync of [false, true]) driver.buffer(one, write, rig.address, 0, 512, sync)
  }
  t.strictSame(flags, [0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 2])
})
