import fc from 'fast-check'
import t from 'tap'
import {
  decodeSharedObject,
  decodeShmemConfig,
  decodeShmemMapping,
  encodeSharedObject,
  encodeShmemConfig,
  encodeShmemMapping,
  SHARED_OBJECT,
  SHMEM_CONFIG,
  SHMEM_MAPPING,
} from 'vhost-user-protocol-ts'
import { encodeAt, type Field, naive, u8, u53, viewAt } from '../../../support/vhost-user/naive.js'

t.test('shared object', async (t) => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 16, maxLength: 16 }), fc.nat(9), (uuid, offset) => {
      const bytes = encodeAt(SHARED_OBJECT.SIZE, offset, (view, at) => encodeSharedObject(view, at, uuid))
      t.same(bytes, uuid)
      t.same(decodeSharedObject(viewAt(bytes, offset), offset), uuid)
    }),
  )
})

t.test('shared memory configuration', async (t) => {
  fc.assert(
    fc.property(fc.array(u53, { maxLength: 256 }), fc.nat(9), (sizes, offset) => {
      const bytes = encodeAt(SHMEM_CONFIG.SIZE, offset, (view, at) => encodeShmemConfig(view, at, sizes))
      const all = Array.from({ length: 256 }, (_, i) => sizes[i] ?? 0)
      const count = all.filter((size) => size !== 0).length
      t.same(bytes, naive([4, count], [4, 0], ...all.map((size): Field => [8, size])))
      t.same(decodeShmemConfig(viewAt(bytes, offset), offset), all)
    }),
    { numRuns: 30 },
  )
})

t.test('shared memory mapping', async (t) => {
  const mapping = fc.record({ regionId: u8, fdOffset: u53, shmOffset: u53, length: u53, flags: u53 })
  fc.assert(
    fc.property(mapping, fc.nat(9), (m, offset) => {
      const bytes = encodeAt(SHMEM_MAPPING.SIZE, offset, (view, at) => encodeShmemMapping(view, at, m))
      t.same(bytes, naive([1, m.regionId], [7, 0], [8, m.fdOffset], [8, m.shmOffset], [8, m.length], [8, m.flags]))
      t.same(decodeShmemMapping(viewAt(bytes, offset), offset), m)
    }),
  )
})
