import t from 'tap'
import {
  INFLIGHT_UNUSABLE,
  PACKED_BASE_NEW,
  PACKED_REGION,
  PACKED_STATE,
  packedBuffer,
  packedPosition,
} from 'vhost-user-protocol-ts'
import { packedBed as bed } from '../../support/inflight/packed-bed.js'

type Bed = ReturnType<typeof bed>

const AVAIL = 0x80
const USED = 0x8000
const MARK = AVAIL | USED
const FIRST_LAP = packedPosition(0, 1)

/** Three chains of one descriptor at 0 to 2, in entries 0 to 2 of four. Entry 3 is free. */
function three(): Bed {
  const r = bed(4)
  const inflight = r.create()
  inflight.start(PACKED_BASE_NEW)
  for (let index = 0; index < 3; index++) {
    r.describe(index, BigInt(index), 1, AVAIL, index)
    inflight.fetch(index, packedBuffer(index, 1))
  }
  return r
}

/** What a batch of entries 0 and 1 has made of the region before the ring is told. */
function batch(r: Bed): void {
  const next = (entry: number, to: number) =>
    r.view.setUint16(PACKED_REGION.DESC + PACKED_STATE.SIZE * entry + PACKED_STATE.NEXT, to, true)
  next(0, 3)
  next(1, 0)
  r.view.setUint16(PACKED_REGION.FREE_HEAD, 1, true)
  r.view.setUint16(PACKED_REGION.USED_IDX, 2, true)
}

const recover = (r: Bed) => {
  const inflight = r.create()
  const count = inflight.start(0)
  return {
    heads: count < 0 ? undefined : [...inflight.heads.slice(0, count)],
    available: inflight.base % 2 ** 16,
    used: Math.floor(inflight.base / 2 ** 16),
  }
}

t.test('a chain that was half fetched is free', async (t) => {
  const r = three()
  r.view.setUint8(PACKED_REGION.DESC + PACKED_STATE.SIZE * 3, 1)
  r.view.setUint16(PACKED_REGION.FREE_HEAD, 4, true)
  t.same(recover(r), { heads: [0, 1, 2], available: packedPosition(3, 1), used: FIRST_LAP })
  t.same(r.free(), [3, 3])
  t.equal(r.inflight(), '1110')
})

t.test('a batch that the driver does not have is served again', async (t) => {
  const r = three()
  batch(r)
  t.same(recover(r), { heads: [0, 1, 2], available: packedPosition(3, 1), used: FIRST_LAP })
  t.same(r.free(), [3, 3])
  t.same(r.used(), [0, 1, 0, 1])
})

t.test('a batch that the driver has is not, whatever it has made of the place since', async (t) => {
  for (const flags of [MARK, USED, 0]) {
    const r = three()
    batch(r)
    r.describe(0, 0n, 0, flags, 1)
    r.describe(1, 0n, 0, MARK, 0)
    t.same(recover(r), { heads: [2], available: packedPosition(3, 1), used: packedPosition(2, 1) })
    t.same(r.free(), [1, 1])
    t.same(r.used(), [2, 1, 2, 1])
    t.equal(r.inflight(), '0010')
    t.same(recover(r).heads, [2], 'and so it stays')
  }
})

t.test('a batch as long as the ring: the same index, another lap', async (t) => {
  const full = (flags: number): Bed => {
    const r = bed(2)
    const inflight = r.create()
    inflight.start(PACKED_BASE_NEW)
    r.describe(0, 1n, 1, AVAIL | 1, 0)
    r.describe(1, 2n, 1, AVAIL, 0)
    const head = inflight.fetch(0, packedBuffer(0, 2))
    inflight.complete(head)
    inflight.beforePublish()
    r.describe(0, 1n, 1, flags, 0)
    t.same(r.used(), [0, 0, 0, 1])
    return r
  }
  t.same(recover(full(AVAIL | 1)), { heads: [0], available: packedPosition(0, 0), used: FIRST_LAP })
  t.same(recover(full(MARK)), { heads: [], available: packedPosition(0, 0), used: packedPosition(0, 0) })
})

t.test('used descriptors that were not published are taken back', async (t) => {
  const r = three()
  // The first one of a batch waits, the others have their flags.
  r.describe(1, 0n, 0, MARK | 2, 2)
  r.describe(3, 0n, 0, MARK, 0)
  t.same(recover(r).heads, [0, 1, 2])
  t.equal(r.flags(0), AVAIL)
  t.equal(r.flags(1), AVAIL | 2)
  t.equal(r.flags(3), MARK, 'this one is not the device’s')
})

t.test('in the second lap as well, around the end', async (t) => {
  const r = bed(3)
  const inflight = r.create()
  inflight.start(packedPosition(2, 0))
  for (const [index, flags] of [
    [2, USED],
    [0, AVAIL],
    [1, AVAIL],
  ] as const) {
    r.describe(index, 0n, 0, flags, index)
    inflight.fetch(index, packedBuffer(index, 1))
  }
  r.describe(2, 0n, 0, 0, 0)
  r.describe(0, 0n, 0, MARK, 0)
  t.same(recover(r).available, packedPosition(2, 1))
  t.same([2, 0, 1].map(r.flags), [USED, AVAIL, AVAIL])
})

t.test('regions that cannot be used', async (t) => {
  const spoil: [string, (r: ReturnType<typeof bed>) => void][] = [
    ['another version', (r) => r.view.setUint16(PACKED_REGION.VERSION, 2, true)],
    ['another size', (r) => r.view.setUint16(PACKED_REGION.DESC_NUM, 5, true)],
    ['a place that the ring does not have', (r) => r.view.setUint16(PACKED_REGION.USED_IDX, 4, true)],
    ['a wrap counter of 2', (r) => r.view.setUint8(PACKED_REGION.OLD_USED_WRAP_COUNTER, 2)],
    ['a free list in a circle', (r) => r.view.setUint16(PACKED_REGION.DESC + 3 * 32 + PACKED_STATE.NEXT, 2, true)],
    [
      'a free list that meets a chain',
      (r) => r.view.setUint16(PACKED_REGION.DESC + 3 * 32 + PACKED_STATE.NEXT, 0, true),
    ],
    ['a chain of no descriptors', (r) => r.view.setUint16(PACKED_REGION.DESC + PACKED_STATE.NUM, 0, true)],
    ['a chain that is too long', (r) => r.view.setUint16(PACKED_REGION.DESC + PACKED_STATE.NUM, 5, true)],
    ['a chain that meets the free list', (r) => r.view.setUint16(PACKED_REGION.DESC + PACKED_STATE.NUM, 3, true)],
    ['an entry that is neither free nor in a chain', (r) => r.view.setUint8(PACKED_REGION.DESC, 0)],
  ]
  for (const [what, change] of spoil) {
    const r = bed(4)
    const inflight = r.create()
    inflight.start(PACKED_BASE_NEW)
    inflight.fetch(0, packedBuffer(0, 2))
    t.equal(r.create().start(0), 1)
    change(r)
    const before = Buffer.from(r.buffer.slice(0))
    t.equal(r.create().start(0), INFLIGHT_UNUSABLE, what)
    t.same(Buffer.from(r.buffer), before, 'it is left alone')
  }
})
