import t from 'tap'
import {
  INFLIGHT_UNUSABLE,
  PACKED_BASE_NEW,
  PACKED_DESC,
  PACKED_REGION,
  packedBuffer,
  packedPosition,
} from 'vhost-user-protocol-ts'
import { packedBed as bed } from '../../support/inflight/packed-bed.js'

const base = (available: number, used: number): number => available + used * 2 ** 16

t.test('a fresh region', async (t) => {
  const r = bed(4)
  new Uint8Array(r.buffer).fill(0xff)
  r.view.setUint16(PACKED_REGION.VERSION, 0)
  const inflight = r.create()
  t.equal(inflight.start(base(packedPosition(3, 0), 0xffff)), 0)
  t.equal(inflight.base, base(3, 3), 'nothing is in flight: the ring is used as far as it was fetched')
  t.same([r.version(), r.view.getUint16(PACKED_REGION.DESC_NUM, true), r.inflight()], [1, 4, '0000'])
  t.same(r.used(), [3, 0, 3, 0])
  t.same(r.free(), [0, 0])
  t.same([0, 1, 2, 3].map(r.next), [1, 2, 3, 4])
  const none = bed(4)
  t.equal(none.create().start(base(packedPosition(4, 1), 0)), INFLIGHT_UNUSABLE, 'no place in the ring')
  t.equal(none.version(), 0)
})

t.test('every place and lap of a ring of the largest size is kept as it is', async (t) => {
  const size = 32768
  const r = bed(size)
  const inflight = r.create()
  inflight.start(PACKED_BASE_NEW)
  let at = 0
  let wrap = 1
  // Steps of a third of the ring and one: after a few laps all bits of the index were set, with either wrap counter.
  for (let step = 0; step < 40; step++) {
    const old = [at, wrap]
    const head = inflight.fetch(at, packedBuffer(0, 10923))
    inflight.complete(head)
    at += 10923
    if (at >= size) {
      at -= size
      wrap ^= 1
    }
    inflight.beforePublish()
    t.same(r.used(), [at, wrap, ...old])
    inflight.afterPublish()
    t.same(r.used(), [at, wrap, at, wrap])
  }
  const bytes = new Uint8Array(r.buffer, PACKED_REGION.OLD_USED_WRAP_COUNTER + 1)
  t.ok(
    bytes.subarray(0, PACKED_REGION.DESC - PACKED_REGION.OLD_USED_WRAP_COUNTER - 1).every((byte) => byte === 0),
    'the padding stays zero',
  )
  t.equal(PACKED_DESC.SIZE * size, r.ring.byteLength)
})
