import fc from 'fast-check'
import t from 'tap'
import {
  AVAIL_F_NO_INTERRUPT,
  availBytes,
  availEventOffset,
  DESC,
  DESC_F,
  descBytes,
  needsEvent,
  USED_F_NO_NOTIFY,
  usedBytes,
  usedEventOffset,
} from 'vhost-user-protocol-ts'
import { u16 } from '../../support/vhost-user/naive.js'

t.test('the areas have the sizes of virtio 1.3 2.7', async (t) => {
  t.same(DESC, { ADDRESS: 0, LENGTH: 8, FLAGS: 12, NEXT: 14, SIZE: 16 })
  t.same(DESC_F, { NEXT: 1, WRITE: 2, INDIRECT: 4 })
  t.equal(AVAIL_F_NO_INTERRUPT, 1)
  t.equal(USED_F_NO_NOTIFY, 1)
  for (let size = 1; size <= 32768; size *= 2) {
    t.equal(descBytes(size), 16 * size)
    // flags, idx, ring, used_event; flags, idx, ring, avail_event
    t.equal(availBytes(size), 2 + 2 + 2 * size + 2)
    t.equal(usedBytes(size), 2 + 2 + 8 * size + 2)
    t.equal(usedEventOffset(size), availBytes(size) - 2, 'used_event is the last word of the available ring')
    t.equal(availEventOffset(size), usedBytes(size) - 2, 'avail_event is the last word of the used ring')
  }
})

/** The text of virtio 1.3 2.7.7.2 and 2.7.10 as a loop: whether the entry numbered `event` is among those that were added. */
function naive(event: number, after: number, before: number): boolean {
  for (let index = before; index !== after; index = (index + 1) % 65536) if (index === event) return true
  return false
}

t.test('needsEvent', async (t) => {
  const cases: [number, number, number, boolean][] = [
    [0, 1, 0, true],
    [1, 1, 0, false],
    [0, 0, 0, false],
    [65535, 0, 65535, true],
    [0, 1, 65535, true],
    [65535, 1, 65535, true],
    [65534, 1, 65535, false],
    [1, 1, 65535, false],
    [5, 4, 5, true],
    [4, 4, 5, false],
  ]
  for (const [event, after, before, expected] of cases) {
    t.equal(needsEvent(event, after, before), expected, `${before}..${after} passes ${event}`)
    t.equal(naive(event, after, before), expected)
  }
  fc.assert(
    fc.property(
      u16,
      u16,
      u16,
      (event, after, before) => needsEvent(event, after, before) === naive(event, after, before),
    ),
  )
  const near = fc.tuple(u16, fc.nat(300), fc.integer({ min: -3, max: 303 }))
  fc.assert(
    fc.property(near, ([before, count, distance]) => {
      const after = (before + count) & 0xffff
      const event = (before + distance) & 0xffff
      return needsEvent(event, after, before) === naive(event, after, before)
    }),
    { numRuns: 2000 },
  )
  t.pass('agrees with the loop')
})
