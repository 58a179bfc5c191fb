import { close, fileSize, viewMemory } from 'memfd-mmap'
import t, { type Test } from 'tap'
import { featureMask, type InflightBuffer, inflightStride, SPLIT_REGION, VIRTIO_F } from 'vhost-user-protocol-ts'
import { InflightBuffers, inflightUnusable } from '../../daemon/inflight-buffers.js'
import { sharedMappings } from '../support/proc.js'

const RINGS = 6
const SIZE = 16
const SPLIT = 0n
const PACKED = featureMask(VIRTIO_F.RING_PACKED)

const ring = (index: number, features = SPLIT, size = SIZE) => ({ index, size, features })

function bufferOf(t: Test, buffers: InflightBuffers, queues = RINGS): InflightBuffer {
  const part = buffers.create(queues, SIZE)
  t.teardown(() => close(part.fd))
  return { ...part, queues, queueSize: SIZE }
}

const mappings = (): number => sharedMappings(process.pid).filter((line) => line.includes('vhost-inflight')).length

/** As one that notes something in it leaves the part of a ring. */
function use(buffers: InflightBuffers, index: number, features = SPLIT): void {
  const { address, length } = buffers.area(ring(index, features))!
  new DataView(viewMemory(address, length)).setUint16(SPLIT_REGION.VERSION, 1, true)
}

t.test('a buffer is made, given back, and divided among the rings', async (t) => {
  const buffers = new InflightBuffers(RINGS)
  const buffer = bufferOf(t, buffers)
  t.equal(fileSize(buffer.fd), buffer.size)
  buffers.set(buffer)
  t.equal(buffers.area(ring(2)), undefined, 'for those that are started')
  for (let index = 0; index < RINGS; index++) buffers.take(index)
  for (const [features, layout] of [
    [SPLIT, 'split'],
    [PACKED, 'packed'],
  ] as const) {
    const first = buffers.area(ring(0, features))!
    t.equal(first.length, inflightStride(layout, SIZE))
    t.equal(first.entries, SIZE)
    const last = buffers.area(ring(5, features))!
    t.equal(last.address, first.address + 5 * first.length)
  }
  t.equal(buffers.area(ring(2, SPLIT, 4))?.entries, SIZE, 'a ring may be smaller')
  t.equal(buffers.area(ring(2, SPLIT, 2 * SIZE)), undefined, 'but not larger')
  t.same(structuredClone(buffers.area(ring(3))), buffers.area(ring(3)), 'what another thread can get')
  for (let index = 0; index < RINGS; index++) buffers.give(index)
  buffers.forget()
  t.throws(() => buffers.create(RINGS + 1, SIZE), { code: 'VUS_INFLIGHT_SIZE' })
  t.throws(() => buffers.set({ ...buffer, size: 64 }), { code: 'VUS_INFLIGHT_SIZE' })
})

t.test('a ring keeps its buffer while it runs, and the buffer is mapped as long', async (t) => {
  const buffers = new InflightBuffers(RINGS)
  const [first, second] = [bufferOf(t, buffers), bufferOf(t, buffers)]
  buffers.set(first)
  t.equal(mappings(), 1)
  buffers.take(2)
  buffers.take(3)
  const area = buffers.area(ring(2))
  buffers.set(second)
  t.equal(mappings(), 2)
  t.same(buffers.area(ring(2)), area)
  buffers.give(2)
  t.equal(mappings(), 2, 'ring 3 has it still')
  buffers.take(2)
  t.not(buffers.area(ring(2))!.address, area!.address)
  buffers.give(3)
  t.equal(mappings(), 1)
  buffers.give(3)
  buffers.give(2)
  t.equal(mappings(), 1)
  buffers.forget()
  t.equal(mappings(), 0)
  buffers.take(2)
  t.equal(buffers.area(ring(2)), undefined)
})

t.test('what a reset clears', async (t) => {
  const buffers = new InflightBuffers(RINGS)
  buffers.clear()
  buffers.set(bufferOf(t, buffers))
  buffers.take(2)
  use(buffers, 2)
  buffers.give(2)
  t.equal(
    buffers.awaits(SPLIT, () => false),
    true,
  )
  buffers.clear()
  t.equal(
    buffers.awaits(SPLIT, () => false),
    false,
  )
  buffers.forget()
})

t.test('who had request rings before is waited for', async (t) => {
  const buffers = new InflightBuffers(RINGS)
  const buffer = bufferOf(t, buffers)
  const none = (): boolean => false
  t.equal(buffers.awaits(SPLIT, none), false, 'no buffer')
  buffers.set(buffer)
  t.equal(buffers.awaits(SPLIT, none), false, 'a fresh one')
  for (const index of [0, 1, 2, 4]) {
    buffers.take(index)
    use(buffers, index)
    buffers.give(index)
  }
  t.equal(buffers.awaits(SPLIT, none), false, 'it is asked once')
  buffers.set(buffer)
  t.equal(buffers.awaits(SPLIT, none), true)
  t.equal(buffers.started(0), false)
  t.equal(buffers.started(4), false)
  t.equal(buffers.started(3), false)
  t.equal(buffers.awaits(SPLIT, none), true)
  t.equal(buffers.started(2), true, 'the last one of those that count')
  t.equal(buffers.awaits(SPLIT, none), false)
  t.equal(buffers.started(2), false)
  buffers.set(buffer)
  t.equal(buffers.awaits(SPLIT, none), true)
  buffers.set(buffer)
  t.equal(buffers.started(4), false)
  t.equal(buffers.started(2), true, 'also if the buffer came again meanwhile')
  buffers.set(buffer)
  t.equal(
    buffers.awaits(SPLIT, (index) => index === 2 || index === 4),
    false,
    'those that run already are not',
  )
  buffers.forget()
})

t.test('what is said of a part that makes no sense', async (t) => {
  t.match(inflightUnusable(3), { code: 'VUS_INFLIGHT_UNUSABLE', message: /^ring 3: / })
})
