import { close, createMemfd, F_SEAL_GROW, F_SEAL_SEAL, F_SEAL_SHRINK, fileSize, getSeals, viewMemory } from 'memfd-mmap'
import t from 'tap'
import {
  createInflightFile,
  DeviceError,
  InflightRegion,
  inflightStride,
  PACKED_BASE_NEW,
  PackedInflight,
  packedRingBytes,
  SplitInflight,
} from 'vhost-user-protocol-ts'

const view = (area: { address: number; length: number }): ArrayBuffer => viewMemory(area.address, area.length)

t.test('what GET_INFLIGHT_FD answers with', async (t) => {
  const { fd, description } = createInflightFile(4, 128, 258)
  t.teardown(() => close(fd))
  const { mmapSize } = description
  t.same(description, { mmapSize: 4 * inflightStride('packed', 128), mmapOffset: 0, numQueues: 4, queueSize: 128 })
  t.equal(fileSize(fd), mmapSize)
  t.equal(getSeals(fd), F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL)
  const region = new InflightRegion(fd, description, 258)
  t.same([region.numQueues, region.queueSize], [4, 128])
  region.unmap()
})

t.test('the regions of the queues lie one behind the other', async (t) => {
  for (const layout of ['split', 'packed'] as const) {
    const { fd, description } = createInflightFile(3, 16, 3)
    t.teardown(() => close(fd))
    const region = new InflightRegion(fd, description, 3)
    const areas = [0, 1, 2].map((index) => region.queue(layout, index, 16)!)
    for (const [i, area] of areas.entries()) {
      t.equal(area.length, inflightStride(layout, 16))
      t.equal(area.address, areas[0]!.address + i * area.length)
      new Uint8Array(view(area)).fill(i + 1)
    }
    t.same(
      areas.map((area) => new Uint8Array(view(area)).every((byte, _, all) => byte === all[0])),
      [true, true, true],
    )
    t.equal(region.queue(layout, 3, 16), undefined, 'no such queue')
    t.equal(region.queue(layout, 0, 17), undefined, 'a ring that is larger')
    t.ok(region.queue(layout, 0, 4), 'a ring that is smaller')
    region.unmap()
  }
})

t.test('which parts are in use', async (t) => {
  const { fd, description } = createInflightFile(3, 16, 3)
  t.teardown(() => close(fd))
  const region = new InflightRegion(fd, description, 3)
  const used = () => [0, 1, 2, 3].map((index) => region.isInUse('split', index))
  t.same(used(), [false, false, false, false])
  new SplitInflight(view(region.queue('split', 1, 16)!), 16).start(0)
  t.same(used(), [false, true, false, false])
  region.clear()
  t.same(used(), [false, false, false, false])
  const packed = new PackedInflight(view(region.queue('packed', 2, 16)!), 16, new ArrayBuffer(packedRingBytes(16)), 16)
  packed.start(PACKED_BASE_NEW)
  t.same(
    [0, 1, 2].map((index) => region.isInUse('packed', index)),
    [false, false, true],
  )
  region.unmap()
})

t.test('it outlives who made it', async (t) => {
  const { fd, description } = createInflightFile(3, 16, 3)
  t.teardown(() => close(fd))
  const first = new InflightRegion(fd, description, 3)
  const ring = new ArrayBuffer(packedRingBytes(16))
  const a = new SplitInflight(view(first.queue('split', 1, 16)!), 16)
  a.start(5)
  a.fetch(9)
  first.unmap()
  const second = new InflightRegion(fd, description, 3)
  const b = new SplitInflight(view(second.queue('split', 1, 16)!), 16)
  t.equal(b.start(5), 1)
  t.equal(b.heads[0], 9)
  second.clear()
  t.equal(b.start(5), 0, 'unless it was cleared')
  second.clear()
  const c = new PackedInflight(view(second.queue('packed', 2, 16)!), 16, ring, 16)
  c.start(PACKED_BASE_NEW)
  c.fetch(0, 1 << 16)
  t.equal(c.start(PACKED_BASE_NEW), 1)
  second.clear()
  t.equal(c.start(PACKED_BASE_NEW), 0)
  second.unmap()
})

t.test('a buffer that only split rings fit into', async (t) => {
  const size = 2 * inflightStride('split', 16)
  const fd = createMemfd('inflight', 64 + size)
  t.teardown(() => close(fd))
  const description = { mmapSize: size, mmapOffset: 64, numQueues: 2, queueSize: 16 }
  const region = new InflightRegion(fd, description, 2)
  t.ok(region.queue('split', 1, 16))
  t.equal(region.queue('packed', 1, 16), undefined)
  region.clear()
  region.unmap()
})

t.test('what is refused', async (t) => {
  const fd = createMemfd('inflight', 65536)
  t.teardown(() => close(fd))
  const good = { mmapSize: 65536, mmapOffset: 0, numQueues: 4, queueSize: 128 }
  const cases: [Partial<typeof good>, string][] = [
    [{ numQueues: 0 }, 'VUS_INFLIGHT_SIZE'],
    [{ numQueues: 5 }, 'VUS_INFLIGHT_SIZE'],
    [{ queueSize: 0 }, 'VUS_INFLIGHT_SIZE'],
    [{ queueSize: 32769 }, 'VUS_INFLIGHT_SIZE'],
    [{ mmapSize: 4 * inflightStride('split', 128) - 1 }, 'VUS_INFLIGHT_SIZE'],
    [{ mmapSize: 65544 }, 'VUS_AREA_FILE_SIZE'],
    [{ mmapOffset: 4096 }, 'VUS_AREA_FILE_SIZE'],
    [{ mmapOffset: 1, mmapSize: 32768 }, 'VUS_AREA_RANGE'],
    [{ mmapSize: 2 ** 40 }, 'VUS_AREA_RANGE'],
  ]
  new InflightRegion(fd, good, 4).unmap()
  for (const [change, code] of cases) {
    t.throws(() => new InflightRegion(fd, { ...good, ...change }, 4), { code }, JSON.stringify(change))
  }
  for (const [queues, size] of [
    [0, 128],
    [5, 128],
    [65535, 65535],
    [4, 0],
    [4, 32769],
  ] as const) {
    t.throws(() => createInflightFile(queues, size, 4), DeviceError)
  }
  t.throws(() => createInflightFile(0, 1, 4), { code: 'VUS_INFLIGHT_SIZE' })
})
