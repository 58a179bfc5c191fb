import fc from 'fast-check'
import t from 'tap'
import { decodeHeader, encodeHeader, HEADER, headerFault } from 'vhost-user-protocol-ts'
import { encodeAt, hex, naive, u32, viewAt } from '../../support/vhost-user/naive.js'

t.test('a header is the plain one', async () => {
  fc.assert(
    fc.property(u32, u32, u32, fc.nat(9), (request, flags, size, offset) => {
      const bytes = encodeAt(HEADER.LENGTH, offset, (view, at) => encodeHeader(view, at, request, flags, size))
      const back = decodeHeader(viewAt(bytes, offset), offset)
      return (
        Buffer.compare(bytes, naive([4, request], [4, flags], [4, size])) === 0 &&
        back.request === request &&
        back.flags === flags &&
        back.size === size
      )
    }),
  )
})

t.test('QEMU asks for an acknowledged SET_MEM_TABLE with one region', async (t) => {
  t.same(decodeHeader(viewAt(hex('05000000 09000000 28000000'), 0), 0), { request: 5, flags: 9, size: 40 })
})

t.test('what is wrong with a header', async (t) => {
  const fault = (flags: number, direction: 'requests' | 'replies' = 'requests', size = 0) =>
    headerFault({ request: 1, flags, size }, direction, 268)
  t.equal(fault(0x1), undefined)
  t.equal(fault(0x9), undefined)
  t.equal(fault(0x0), 'VUS_BAD_VERSION')
  t.equal(fault(0x2), 'VUS_BAD_VERSION')
  t.equal(fault(0x3), 'VUS_BAD_VERSION')
  t.equal(fault(0x11), 'VUS_RESERVED_FLAGS')
  t.equal(fault(0x80000001), 'VUS_RESERVED_FLAGS')
  t.equal(fault(0x5), 'VUS_REPLY_FLAG')
  t.equal(fault(0x5, 'replies'), undefined)
  t.equal(fault(0x1, 'replies'), 'VUS_BAD_REPLY')
  t.equal(fault(0x1, 'requests', 268), undefined)
  t.equal(fault(0x1, 'requests', 269), 'VUS_PAYLOAD_TOO_LARGE')
  t.equal(fault(0x1, 'requests', 0xffffffff), 'VUS_PAYLOAD_TOO_LARGE')
})
