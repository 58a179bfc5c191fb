import t from 'tap'
import {
  INFLIGHT_ALIGNMENT,
  inflightStride,
  PACKED_REGION,
  PACKED_STATE,
  SPLIT_REGION,
  SPLIT_STATE,
} from 'vhost-user-protocol-ts'

/** Offsets of the members of a C structure given by their sizes, in the order of their names; and its size. */
function members(sizes: Readonly<Record<string, number>>): Record<string, number> {
  const offsets: Record<string, number> = {}
  let at = 0
  for (const [name, size] of Object.entries(sizes)) {
    at = Math.ceil(at / size) * size
    offsets[name] = at
    at += size
  }
  return offsets
}

t.test('the offsets are those of the structures in vhost-user.rst', async (t) => {
  t.match(members({ FEATURES: 8, VERSION: 2, DESC_NUM: 2, LAST_BATCH_HEAD: 2, USED_IDX: 2, DESC: 8 }), SPLIT_REGION)
  t.equal(SPLIT_STATE.NEXT, 1 + 5)
  t.match(members({ INFLIGHT_TO_NEXT: 8, COUNTER: 8 }), { COUNTER: SPLIT_STATE.COUNTER })
  t.equal(SPLIT_STATE.SIZE, 16)
  const packed = members({
    FEATURES: 8,
    VERSION: 2,
    DESC_NUM: 2,
    FREE_HEAD: 2,
    OLD_FREE_HEAD: 2,
    USED_IDX: 2,
    OLD_USED_IDX: 2,
    USED_WRAP_COUNTER: 1,
    OLD_USED_WRAP_COUNTER: 1,
  })
  t.match({ ...packed, DESC: Math.ceil((packed.OLD_USED_WRAP_COUNTER! + 1 + 7) / 8) * 8 }, PACKED_REGION)
  const state = members({
    INFLIGHT: 1,
    PADDING: 1,
    NEXT: 2,
    LAST: 2,
    NUM: 2,
    COUNTER: 8,
    ID: 2,
    FLAGS: 2,
    LENGTH: 4,
    ADDRESS: 8,
  })
  t.match(state, { ...PACKED_STATE, SIZE: undefined })
  t.equal(PACKED_STATE.SIZE, 32)
})

t.test('regions begin on cache lines', async (t) => {
  t.equal(inflightStride('split', 128), 16 + 16 * 128 + 48)
  t.equal(inflightStride('split', 3), 64)
  t.equal(inflightStride('split', 4), 128)
  t.equal(inflightStride('packed', 1), 64)
  t.equal(inflightStride('packed', 128), 32 + 32 * 128 + 32)
  for (const layout of ['split', 'packed'] as const) {
    for (const size of [1, 2, 3, 100, 256, 32768]) t.equal(inflightStride(layout, size) % INFLIGHT_ALIGNMENT, 0)
  }
})
