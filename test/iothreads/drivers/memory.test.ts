import assert from 'node:assert/strict'
import { ERRNO } from 'memfd-mmap'
import t from 'tap'
import { MemoryDriver } from '../../../iothreads/drivers/memory.js'
import { SegmentRig, scatter, seeded } from '../../support/iothreads/request-with.js'
import { rounds } from '../../support/iothreads/rounds.js'
import { testMedium } from '../../support/iothreads/units.js'

const SIZE = 2 ** 20

t.test('copies between segments and the medium', async (t) => {
  const rig = new SegmentRig(t, 2 * SIZE)
  const { medium, content } = testMedium(t, 'memory', SIZE)
  if (medium.kind !== 'memory') throw new TypeError(medium.kind)
  const driver = new MemoryDriver(medium.fd, medium.address)
  const model = new Uint8Array(SIZE)
  const random = seeded(3)
  t.equal(driver.delayLine, null)
  for (let round = 0; round < rounds(60); round++) {
    const count = 1 + Math.floor(random() * 100)
    const length = count + Math.floor(random() * 40_000)
    const offset = Math.floor(random() * (SIZE - length))
    const segments = scatter(length + (round % 3 === 0 ? 700 : 0), count, random)
    for (const [start, size] of segments) for (let i = 0; i < size; i++) rig.bytes[start + i] = random() * 256
    const before = rig.content(segments)
    const isWrite = random() < 0.5
    const request = isWrite ? rig.request(segments) : rig.request([[2 * SIZE - 512, 512]], segments)
    Object.assign(request.task, { offset, length, fua: true })
    assert.equal(driver.transfer(request, rig.table, isWrite), length)
    if (isWrite) model.set(before.subarray(0, length), offset)
    else before.set(model.subarray(offset, offset + length))
    assert.equal(Buffer.compare(rig.content(segments), before), 0, `round ${round}`)
    rig.table.give(request)
  }
  const request = rig.request([])
  t.equal(driver.buffer(request, true, rig.address, SIZE - 1000, 1000, false), 1000)
  model.set(rig.bytes.subarray(0, 1000), SIZE - 1000)
  t.equal(driver.buffer(request, false, rig.address + 5000, SIZE - 1000, 1000, false), 1000)
  t.strictSame(rig.bytes.slice(5000, 6000), rig.bytes.slice(0, 1000))
  t.equal(driver.flush(request), 0)
  for (const [operation, offset, length] of [
    ['discard', 0, 4096],
    ['discard', 5000, 100_001],
    ['zero', 200_000, 512],
  ] as const) {
    t.equal(driver[operation](request, offset, length), 0)
    model.fill(0, offset, offset + length)
  }
  t.equal(Buffer.compare(content(), model), 0)
})

t.test('extents of the medium, and nothing to read ahead', async (t) => {
  const rig = new SegmentRig(t, 4096)
  const { medium } = testMedium(t, 'memory', SIZE)
  if (medium.kind !== 'memory') throw new TypeError(medium.kind)
  const driver = new MemoryDriver(medium.fd, medium.address)
  const request = rig.request([])
  t.equal(driver.prefetch(request, 0, SIZE), 0)
  t.equal(driver.extent(0, SIZE, false), SIZE)
  t.equal(driver.extent(0, SIZE, true), 0)
  rig.bytes.fill(1)
  driver.buffer(request, true, rig.address, 65536, 4096, false)
  t.equal(driver.extent(0, SIZE, false), 65536)
  t.equal(driver.extent(0, 512, false), 512)
  t.equal(driver.extent(65536, SIZE - 65536, true), 4096)
  driver.discard(request, 65536, 4096)
  t.equal(driver.extent(4096, SIZE - 4096, false), SIZE - 4096)

  driver.buffer(request, false, rig.address, 8192, 4096, false)
  t.equal(driver.extent(0, SIZE, false), 8192, 'the kernel has filled what was read')
  t.equal(driver.extent(8192, SIZE - 8192, false), 4096, 'and it is a hole still')
  t.equal(driver.extent(8704, 512, false), 512)
  t.equal(driver.extent(12288, SIZE - 12288, true), 0, 'nothing else is filled by looking')
})

t.test('what the kernel refuses is a result', async (t) => {
  const rig = new SegmentRig(t, 4096)
  t.equal(new MemoryDriver(-1, 0).discard(rig.request([]), 0, 512), -ERRNO.EBADF)
})
