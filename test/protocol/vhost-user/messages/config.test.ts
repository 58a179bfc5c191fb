import fc from 'fast-check'
import t from 'tap'
import { CONFIG_ACCESS, decodeConfigAccess, encodeConfigAccess } from 'vhost-user-protocol-ts'
import { hex, naive, u32, viewAt } from '../../../support/vhost-user/naive.js'

t.test('config access', async (t) => {
  const access = fc
    .nat(256)
    .chain((offset) => fc.record({ offset: fc.constant(offset), size: fc.nat(256 - offset), flags: u32 }))
  fc.assert(
    fc.property(access, fc.uint8Array({ maxLength: 300 }), fc.nat(9), (a, data, at) => {
      const bytes = encodeConfigAccess(a, data)
      const expected = Array.from({ length: a.size }, (_, i) => [1, data[i] ?? 0] as const)
      t.same(bytes, naive([4, a.offset], [4, a.size], [4, a.flags], ...expected))
      t.same(decodeConfigAccess(viewAt(bytes, at), at), a)
    }),
  )
  t.equal(CONFIG_ACCESS.DATA, CONFIG_ACCESS.SIZE)
})

t.test('accesses beyond config space are refused', async (t) => {
  const decode = (text: string) => () => decodeConfigAccess(viewAt(hex(text), 0), 0)
  t.same(decode('fc000000 04000000 00000000')(), { offset: 252, size: 4, flags: 0 })
  t.throws(decode('fd000000 04000000 00000000'), { code: 'VUS_CONFIG_RANGE' })
  t.throws(decode('00000000 01010000 00000000'), { code: 'VUS_CONFIG_RANGE' })
  t.throws(decode('ffffffff ffffffff 00000000'), { code: 'VUS_CONFIG_RANGE' })
  t.throws(decode('ffffffff 02000000 00000000'), { code: 'VUS_CONFIG_RANGE' }, 'no wrap at 2^32')
})
