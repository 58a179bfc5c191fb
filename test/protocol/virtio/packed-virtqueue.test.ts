import fc from 'fast-check'
import t from 'tap'
import {
  DirtyLog,
  LOG_PAGE,
  NO_CHAIN,
  PACKED_BASE_NEW,
  PACKED_DESC_F,
  PACKED_EVENT_F,
  type PackedRingLog,
  PackedVirtqueue,
  packedBuffer,
} from 'vhost-user-protocol-ts'
import { times } from '../../support/long.js'
import { baseOf, PackedModel, type PackedStep } from '../../support/vhost/packed-model.js'
import { type Place, PlainParts, setEvent } from '../../support/vhost/plain-packed.js'

const { NEXT, WRITE, AVAIL, USED } = PACKED_DESC_F
const { ENABLE, DISABLE, DESC } = PACKED_EVENT_F
/** Flags that make a descriptor available, and used, in the first lap and in the second. */
const AVAILABLE = [AVAIL, USED] as const
const DONE = [AVAIL | USED, 0] as const

/** A queue over parts that the test can read and write. */
function bare(size: number, o: { base?: number; eventIdx?: boolean; parts?: PlainParts; log?: PackedRingLog } = {}) {
  const parts = o.parts ?? PlainParts.create(size)
  const queue = new PackedVirtqueue({
    size,
    desc: parts.ring.buffer,
    driverEvent: parts.driverEvent.buffer,
    deviceEvent: parts.deviceEvent.buffer,
    base: o.base ?? PACKED_BASE_NEW,
    eventIdx: o.eventIdx ?? false,
    log: o.log ?? null,
  })
  return {
    queue,
    parts,
    flags: (index: number): number => parts.descriptor(index).flags,
    setFlags: (index: number, flags: number): void => parts.ring.setUint16(16 * index + 14, flags, true),
    deviceEvent: (): number[] => [parts.deviceEvent.getUint16(0, true), parts.deviceEvent.getUint16(2, true)],
  }
}

t.test('refuses sizes and bases that no packed ring has', async (t) => {
  for (const size of [0, -1, 1.5, 32769]) t.throws(() => bare(size), RangeError, `size ${size}`)
  for (const [size, base] of [
    [4, 0x8000_8004],
    [4, 0x8004_8000],
    [4, 0x0001_8002],
    [4, 0x8002_8001],
  ] as const) {
    t.throws(() => bare(size, { base }), RangeError, `base ${base.toString(16)}`)
  }
})

t.test('fetches what is available, in order, around the ring', async (t) => {
  const r = bare(3)
  t.equal(r.queue.available(), 0)
  t.equal(r.queue.hasAvailable(), false)
  t.equal(r.queue.fetch(), NO_CHAIN)
  r.setFlags(0, AVAILABLE[0])
  r.setFlags(1, AVAILABLE[0] | NEXT)
  t.equal(r.queue.hasAvailable(), true)
  t.equal(r.queue.available(), 2)
  t.equal(r.queue.available(1), 1, 'one is enough')
  t.equal(r.queue.available(0), 0)
  t.equal(r.queue.fetch(), 0)
  t.equal(r.queue.fetch(), 0, 'the same until it is known how long it is')
  r.queue.advance(packedBuffer(0xffff, 1))
  t.equal(r.queue.available(), 1)
  t.equal(r.queue.fetch(), 1)
  r.queue.advance(packedBuffer(7, 2))
  t.equal(r.queue.nextAvailable, 0, 'the second lap')
  t.equal(r.queue.available(), 0)
  t.equal(r.queue.fetch(), NO_CHAIN, 'descriptor 0 is that of the lap before')
  r.queue.push(packedBuffer(0xffff, 1), 0)
  r.queue.publish()
  for (const flags of [AVAIL | USED, AVAIL, 0]) {
    r.setFlags(0, flags)
    t.equal(r.queue.hasAvailable(), false, `flags ${flags.toString(16)} are not of the second lap`)
  }
  r.setFlags(0, AVAILABLE[1])
  t.equal(r.queue.available(), 1)
  t.equal(r.queue.fetch(), 0)
})

t.test('a chain that was put back is fetched again', async (t) => {
  const r = bare(3)
  for (const i of [0, 1, 2]) r.setFlags(i, AVAILABLE[0])
  r.queue.fetch()
  r.queue.unfetch()
  t.equal(r.queue.nextAvailable, 0x8000, 'before it was walked: nothing has moved')
  r.queue.fetch()
  r.queue.advance(packedBuffer(0, 2))
  r.queue.unfetch()
  t.equal(r.queue.nextAvailable, 0x8000, 'after it was walked')
  t.equal(r.queue.available(), 3)
  r.queue.fetch()
  r.queue.advance(packedBuffer(0, 2))
  r.queue.fetch()
  r.queue.unfetch()
  t.equal(r.queue.nextAvailable, 0x8002, 'not the one before it')
  r.queue.fetch()
  r.queue.advance(packedBuffer(0, 1))
  t.equal(r.queue.nextAvailable, 0)
  r.queue.unfetch()
  t.equal(r.queue.nextAvailable, 0x8002, 'over the wrap')
  t.equal(r.queue.available(), 1)
  r.queue.unfetch()
  t.equal(r.queue.nextAvailable, 0x8002, 'once only')
  r.queue.fetch()
  r.queue.advance(packedBuffer(0, 1))
  t.equal(r.queue.fetch(), NO_CHAIN)
  r.queue.unfetch()
  t.equal(r.queue.nextAvailable, 0, 'no chain is nothing to put back')
})

t.test('more available than the ring holds is refused', async (t) => {
  const r = bare(2)
  r.setFlags(0, AVAILABLE[0])
  r.setFlags(1, AVAILABLE[0])
  for (let i = 0; i < 2; i++) {
    r.queue.fetch()
    r.queue.advance(packedBuffer(i, 1))
  }
  t.equal(r.queue.available(), 0)
  r.setFlags(0, AVAILABLE[1])
  t.equal(r.queue.available(), -1, 'both are the device’s')
  t.equal(r.queue.hasAvailable(), true, 'a broken ring is something to look at')
  t.equal(r.queue.fetch(), NO_CHAIN)
  r.queue.push(packedBuffer(0, 1), 0)
  t.equal(r.queue.available(), -1, 'what is not published is not the driver’s')
  r.queue.publish()
  r.setFlags(0, AVAILABLE[1])
  t.equal(r.queue.available(), 1)

  const long = bare(4)
  for (const i of [0, 1, 2, 3]) long.setFlags(i, AVAILABLE[0])
  for (const count of [2, 3]) {
    t.equal(long.queue.fetch(), count - 2 ? 2 : 0)
    long.queue.advance(packedBuffer(0, count))
  }
  t.equal(long.queue.available(), -1, 'a chain that runs into one in flight')
})

t.test('used descriptors are written whole, and seen by the first one’s flags', async (t) => {
  const r = bare(5)
  for (const i of [0, 1, 2, 3, 4]) r.parts.write(i, BigInt(1000 + i), 16 * i, i, AVAILABLE[0])
  for (const count of [2, 1, 2]) {
    r.queue.fetch()
    r.queue.advance(packedBuffer(0, count))
  }
  t.equal(r.queue.unpublished, false)
  t.equal(r.queue.publish(), false, 'nothing to publish, nothing to tell')
  r.queue.push(packedBuffer(0xabcd, 2), 0xffff_ffff)
  t.equal(r.queue.unpublished, true)
  t.equal(r.flags(0), AVAILABLE[0], 'not seen yet')
  r.queue.push(packedBuffer(3, 2), 0)
  t.equal(r.queue.nextUsed, 0x8004)
  r.queue.push(packedBuffer(2, 1), 108)
  t.equal(r.queue.nextUsed, 0, 'behind all three, in the second lap')
  t.equal(r.flags(0), AVAILABLE[0])
  t.equal(r.queue.publish(), true)
  t.equal(r.queue.unpublished, false)
  const done = (index: number) => r.parts.descriptor(index)
  t.same(done(0), { address: 1000n, length: 0xffff_ffff, id: 0xabcd, flags: DONE[0] | WRITE })
  t.same(done(1), { address: 1001n, length: 16, id: 1, flags: AVAILABLE[0] }, 'skipped')
  t.same(done(2), { address: 1002n, length: 0, id: 3, flags: DONE[0] }, 'nothing written, no WRITE')
  t.same(done(3), { address: 1003n, length: 48, id: 3, flags: AVAILABLE[0] })
  t.same(done(4), { address: 1004n, length: 108, id: 2, flags: DONE[0] | WRITE })

  r.setFlags(0, AVAILABLE[1])
  r.queue.fetch()
  r.queue.advance(packedBuffer(9, 1))
  r.queue.push(packedBuffer(9, 1), 1)
  r.queue.publish()
  t.same(done(0), { address: 1000n, length: 1, id: 9, flags: DONE[1] | WRITE }, 'the second lap')
})

t.test('an id that is used twice is given back twice', async (t) => {
  const r = bare(4)
  for (const i of [0, 1]) r.parts.write(i, 0n, 0, 5, AVAILABLE[0])
  for (let i = 0; i < 2; i++) {
    r.queue.fetch()
    r.queue.advance(packedBuffer(5, 1))
  }
  r.queue.push(packedBuffer(5, 1), 1)
  r.queue.push(packedBuffer(5, 1), 2)
  r.queue.publish()
  t.same(
    [0, 1].map((i) => r.parts.descriptor(i).length),
    [1, 2],
  )
  t.equal(r.queue.available(), 0)
})

t.test('notifications by flags', async (t) => {
  const r = bare(32)
  const publish = (flags: number, place?: Place): boolean => {
    r.queue.push(packedBuffer(0, 1), 0)
    setEvent(r.parts.driverEvent, flags, place)
    return r.queue.publish()
  }
  t.equal(publish(ENABLE), true)
  t.equal(publish(DISABLE), false)
  t.equal(publish(DESC, { index: 20, wrap: true }), true, 'not negotiated: better one too many')
  t.equal(publish(3), true, 'reserved')
  t.equal(publish(0xfffc | DISABLE), false, 'other bits are reserved')
  t.equal(r.queue.enableNotifications(), false)
  t.same(r.deviceEvent(), [0, ENABLE])
  r.queue.disableNotifications()
  t.same(r.deviceEvent(), [0, DISABLE])
  r.setFlags(0, AVAILABLE[0])
  t.equal(r.queue.enableNotifications(), true, 'something came in before the driver could know')
})

t.test('notifications by position', async (t) => {
  const r = bare(4, { eventIdx: true, base: baseOf({ index: 3, wrap: true }) })
  const publish = (event: Place, flags: number = DESC, counts = [1]): boolean => {
    for (const count of counts) r.queue.push(packedBuffer(0, count), 0)
    setEvent(r.parts.driverEvent, flags, event)
    return r.queue.publish()
  }
  t.equal(publish({ index: 3, wrap: true }), true, 'the last of the first lap')
  t.equal(publish({ index: 0, wrap: true }), false, 'the lap before')
  t.equal(publish({ index: 1, wrap: true }, ENABLE), true)
  t.equal(publish({ index: 2, wrap: false }, DISABLE), false)
  t.equal(publish({ index: 1, wrap: true }, DESC, [1, 2, 1]), true, 'passed by a batch around the end')
  t.equal(publish({ index: 2, wrap: true }, DESC, [1]), false, 'the one before')
  t.equal(publish({ index: 4, wrap: true }), true, 'beyond the ring')

  t.equal(r.queue.enableNotifications(), false)
  t.same(r.deviceEvent(), [0x8003, DESC])
  r.queue.disableNotifications()
  t.same(r.deviceEvent()[1], DISABLE)
  r.queue.disableNotifications()
  r.setFlags(3, AVAILABLE[0])
  t.equal(r.queue.enableNotifications(), true)
  r.queue.fetch()
  r.queue.advance(packedBuffer(0, 1))
  t.equal(r.queue.enableNotifications(), false)
  t.same(r.deviceEvent(), [0, DESC], 'the second lap')
})

t.test('the base says where a queue stands, and a new queue goes on there', async (t) => {
  const r = bare(3)
  t.equal(r.queue.base, PACKED_BASE_NEW)
  for (const i of [0, 1, 2]) r.setFlags(i, AVAILABLE[0])
  for (const id of [0, 1]) {
    r.queue.fetch()
    r.queue.advance(packedBuffer(id, 1))
  }
  r.queue.push(packedBuffer(0, 1), 0)
  r.queue.publish()
  t.equal(r.queue.base, 0x8001_8002)
  const again = bare(3, { base: r.queue.base, parts: r.parts }).queue
  t.equal(again.available(), 1)
  t.equal(again.fetch(), 2)
  again.advance(packedBuffer(2, 1))
  again.push(packedBuffer(1, 1), 0)
  again.push(packedBuffer(2, 1), 0)
  again.publish()
  t.equal(again.base, 0)
  r.setFlags(0, AVAILABLE[1])
  t.equal(again.fetch(), 0)
})

const step: fc.Arbitrary<PackedStep> = fc.tuple(
  fc.oneof(
    { weight: 4, arbitrary: fc.constantFrom('add', 'fetch', 'push', 'publish', 'reap') },
    { weight: 1, arbitrary: fc.constantFrom('unfetch', 'wish', 'arm', 'disarm', 'restart') },
  ),
  fc.nat(99),
)

t.test('any interleaving of the plain driver and the device agrees with the model', async (t) => {
  const ring = fc
    .oneof(fc.integer({ min: 1, max: 17 }), fc.constantFrom(64, 100, 255))
    .chain((size) => fc.tuple(fc.constant(size), fc.record({ index: fc.nat(size - 1), wrap: fc.boolean() })))
  let laps = 0
  fc.assert(
    fc.property(
      ring,
      fc.boolean(),
      fc.array(step, { minLength: 20, maxLength: 300, size: 'max' }),
      ([size, start], eventIdx, steps) => {
        const run = new PackedModel(size, start, eventIdx)
        try {
          for (const each of steps) run.apply(each)
          laps += run.descriptors / size
        } finally {
          run.close()
        }
      },
    ),
    { numRuns: times(1000) },
  )
  t.ok(laps > times(1000), `the rings went round ${Math.floor(laps)} times`)
})

t.test('writes to the ring are logged', async (t) => {
  // Four pages of descriptors.
  const size = 1024
  const perPage = 256
  const bits = new SharedArrayBuffer(8)
  const words = new Uint32Array(bits)
  const log = { log: new DirtyLog(bits), desc: LOG_PAGE, deviceEvent: 20 * LOG_PAGE + 8 }
  const marked = (): number[] => {
    const pages = [...Array(32).keys()].filter((page) => ((words[0]! >>> page) & 1) === 1)
    words[0] = 0
    return pages
  }
  const r = bare(size, { log, eventIdx: true })
  t.equal(r.queue.enableNotifications(), false)
  t.same(marked(), [20])
  r.queue.enableNotifications()
  t.same(marked(), [20])
  r.queue.disableNotifications()
  t.same(marked(), [20])
  r.queue.disableNotifications()
  t.same(marked(), [], 'it is off already')

  // Chains of these lengths, a batch each: the pages in which used descriptors are.
  const batches: [lengths: number[], pages: number[]][] = [
    [[perPage - 1], [1]],
    [
      [1, 1],
      [1, 2],
    ],
    [
      [perPage, 1],
      [2, 3],
    ],
    [[perPage - 2], [3]],
    [[perPage - 1], [4]],
    [
      [1, 10, 1],
      [1, 4],
    ],
  ]
  let at = 0
  for (const [lengths, pages] of batches) {
    for (const count of lengths) {
      r.setFlags(at % size, AVAILABLE[at < size ? 0 : 1])
      t.equal(r.queue.available(1), 1)
      r.queue.fetch()
      r.queue.advance(packedBuffer(7, count))
      r.queue.push(packedBuffer(7, count), 0)
      at += count
    }
    t.same(marked(), [], 'not before the driver sees it')
    r.queue.publish()
    t.same(marked(), pages, `chains of ${lengths}`)
  }
  r.queue.publish()
  t.same(marked(), [])
})
