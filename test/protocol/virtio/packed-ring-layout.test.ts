import fc from 'fast-check'
import t from 'tap'
import {
  isPackedBase,
  PACKED_ALIGNMENT,
  PACKED_DESC,
  PACKED_DESC_F,
  PACKED_EVENT,
  PACKED_EVENT_F,
  PACKED_SIZE_MAX,
  packedDistance,
  packedNeedsEvent,
  packedPosition,
  packedRingBytes,
  settledPackedBase,
} from 'vhost-user-protocol-ts'
import { times } from '../../support/long.js'
import { type Place, samePlace } from '../../support/vhost/plain-packed.js'

t.test('structures, flags and sizes are those of virtio 1.3 2.8', async (t) => {
  t.same(PACKED_DESC, { ADDRESS: 0, LENGTH: 8, ID: 12, FLAGS: 14, SIZE: 16 })
  t.same(PACKED_DESC_F, { NEXT: 1, WRITE: 2, INDIRECT: 4, AVAIL: 0x80, USED: 0x8000 })
  t.same(PACKED_EVENT, { POSITION: 0, FLAGS: 2, SIZE: 4 })
  t.same(PACKED_EVENT_F, { ENABLE: 0, DISABLE: 1, DESC: 2 })
  t.same(PACKED_ALIGNMENT, { RING: 16, EVENT: 4 })
  t.equal(PACKED_SIZE_MAX, 32768)
  for (const size of [1, 3, 100, 32768]) t.equal(packedRingBytes(size), 16 * size)
  t.equal(packedPosition(0, 0), 0)
  t.equal(packedPosition(32767, 1), 0xffff)
})

const next = ({ index, wrap }: Place, size: number): Place =>
  index + 1 === size ? { index: 0, wrap: !wrap } : { index: index + 1, wrap }
const position = ({ index, wrap }: Place): number => packedPosition(index, wrap ? 1 : 0)

/** Descriptors from one place on to another, counted one by one. */
function naiveDistance(from: Place, to: Place, size: number): number {
  let count = 0
  for (let place = from; !samePlace(place, to); place = next(place, size)) count++
  return count
}

/** The places from `before` on, `count` of them. */
function naivePassed(before: Place, count: number, size: number): Place[] {
  const passed: Place[] = []
  for (let place = before; passed.length < count; place = next(place, size)) passed.push(place)
  return passed
}

const places = (size: number): Place[] =>
  [true, false].flatMap((wrap) => Array.from({ length: size }, (_, index) => ({ index, wrap })))

t.test('distances and events, all of them in small rings', async (t) => {
  let distances = 0
  let events = 0
  for (let size = 1; size <= 7; size++) {
    for (const from of places(size)) {
      for (const to of places(size)) {
        const distance = naiveDistance(from, to, size)
        if (packedDistance(position(from), position(to), size) !== distance)
          t.fail(`${size}: ${JSON.stringify(from)} to ${JSON.stringify(to)} is ${distance}`)
        distances++
        for (let count = 0; count <= size; count++) {
          const passed = naivePassed(from, count, size).some((place) => samePlace(place, to))
          if (packedNeedsEvent(position(to), position(from), count, size) !== passed)
            t.fail(`${size}: ${count} from ${JSON.stringify(from)} pass ${JSON.stringify(to)}: ${passed}`)
          events++
        }
      }
    }
  }
  t.equal(distances, 560)
  t.equal(events, 3696)
})

t.test('events in rings of any size', async (t) => {
  const cases = fc.oneof(fc.integer({ min: 1, max: 300 }), fc.constantFrom(32767, 32768)).chain((size) =>
    fc.record({
      size: fc.constant(size),
      before: fc.record({ index: fc.nat(size - 1), wrap: fc.boolean() }),
      event: fc.record({ index: fc.nat(size - 1), wrap: fc.boolean() }),
      count: fc.nat(Math.min(size, 400)),
    }),
  )
  fc.assert(
    fc.property(cases, ({ size, before, event, count }) => {
      const passed = naivePassed(before, count, size)
      return [event, passed.at(-1) ?? event, passed[0] ?? event, next(passed.at(-1) ?? event, size)].every(
        (place) =>
          packedNeedsEvent(position(place), position(before), count, size) ===
          passed.some((each) => samePlace(each, place)),
      )
    }),
    { numRuns: times(500) },
  )
  t.equal(packedNeedsEvent(5, 0, 1, 5), true, 'a place that the ring does not have')
  t.equal(packedNeedsEvent(0xffff, 0x8000, 1, 32767), true)
})

t.test('bases of SET_VRING_BASE', async (t) => {
  const base = (available: Place, used: Place): number => (position(available) | (position(used) << 16)) >>> 0
  t.equal(isPackedBase(0x8000_8000, 1), true, 'a new ring')
  t.equal(isPackedBase(0, 1), true, 'after one lap')
  t.equal(isPackedBase(0x8000_8001, 1), false, 'beyond the ring')
  t.equal(isPackedBase(0x8001_8000, 1), false)
  t.equal(isPackedBase(0x7fff_7fff, 32768), true)
  t.equal(isPackedBase(0x7fff_7fff, 32767), false)
  for (let size = 1; size <= 5; size++) {
    for (const used of places(size)) {
      for (const available of places(size)) {
        const held = naiveDistance(used, available, size)
        t.equal(isPackedBase(base(available, used), size), held <= size, `${held} of ${size} in flight`)
      }
    }
  }
  t.equal(settledPackedBase(0x8000), 0x8000_8000, 'the high half that some front ends leave zero')
  t.equal(settledPackedBase(0x1234_8005), 0x8005_8005)
  t.equal(settledPackedBase(0x8000_0003), 0x0003_0003)
})
