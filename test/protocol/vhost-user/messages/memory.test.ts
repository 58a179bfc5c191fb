import fc from 'fast-check'
import t from 'tap'
import {
  decodeIotlb,
  decodeMemoryRegion,
  decodeMemoryTable,
  decodeSingleRegion,
  decodeXenRegion,
  encodeIotlb,
  encodeMemoryRegion,
  encodeMemoryTable,
  encodeSingleRegion,
  encodeXenRegion,
  IOTLB,
  MEM_REGION,
  type MemoryRegion,
  memoryTableBytes,
  SINGLE_REGION,
  XEN_REGION,
} from 'vhost-user-protocol-ts'
import { encodeAt, type Field, hex, naive, u8, u32, u53, viewAt } from '../../../support/vhost-user/naive.js'

const shape = { guestAddress: u53, size: u53, userAddress: u53, mmapOffset: u53 }
const region = fc.record(shape)
const fields = (r: MemoryRegion): Field[] => [
  [8, r.guestAddress],
  [8, r.size],
  [8, r.userAddress],
  [8, r.mmapOffset],
]

t.test('memory region', async (t) => {
  fc.assert(
    fc.property(region, fc.nat(9), (r, offset) => {
      const bytes = encodeAt(MEM_REGION.SIZE, offset, (view, at) => encodeMemoryRegion(view, at, r))
      t.same(bytes, naive(...fields(r)))
      t.same(decodeMemoryRegion(viewAt(bytes, offset), offset), r)
    }),
  )
})

t.test('Xen memory region', async (t) => {
  fc.assert(
    fc.property(fc.record({ ...shape, mmapFlags: u32, domainId: u32 }), fc.nat(9), (r, offset) => {
      const bytes = encodeAt(XEN_REGION.SIZE, offset, (view, at) => encodeXenRegion(view, at, r))
      t.same(bytes, naive(...fields(r), [4, r.mmapFlags], [4, r.domainId]))
      t.same(decodeXenRegion(viewAt(bytes, offset), offset), r)
    }),
  )
})

t.test('single region', async (t) => {
  fc.assert(
    fc.property(region, fc.nat(9), (r, offset) => {
      const bytes = encodeAt(SINGLE_REGION.SIZE, offset, (view, at) => encodeSingleRegion(view, at, r))
      t.same(bytes, naive([8, 0], ...fields(r)))
      t.same(decodeSingleRegion(viewAt(bytes, offset), offset), r)
    }),
  )
})

t.test('memory table', async (t) => {
  fc.assert(
    fc.property(fc.array(region, { maxLength: 8 }), fc.nat(9), (regions, offset) => {
      const size = memoryTableBytes(regions.length)
      const bytes = encodeAt(size, offset, (view, at) => encodeMemoryTable(view, at, regions))
      t.same(bytes, naive([4, regions.length], [4, 0], ...regions.flatMap(fields)))
      t.same(decodeMemoryTable(viewAt(bytes, offset), offset, size), regions)
    }),
  )
})

t.test('a memory table as QEMU sends it', async (t) => {
  const bytes = hex(`
    02000000 00000000
    00000000 00000000 00000a00 00000000 0000c0bc 457f0000 00000000 00000000
    00000c00 00000000 0000f40f 00000000 0000ccbc 457f0000 00000c00 00000000`)
  t.same(decodeMemoryTable(viewAt(bytes, 0), 0, bytes.length), [
    { guestAddress: 0, size: 0xa0000, userAddress: 0x7f45bcc00000, mmapOffset: 0 },
    { guestAddress: 0xc0000, size: 0xff40000, userAddress: 0x7f45bccc0000, mmapOffset: 0xc0000 },
  ])
})

t.test('a memory table must fit its payload', async (t) => {
  const table = (count: number, length: number) => {
    const bytes = new Uint8Array(Math.max(length, 8))
    new DataView(bytes.buffer).setUint32(0, count, true)
    return () => decodeMemoryTable(new DataView(bytes.buffer), 0, length)
  }
  t.same(table(0, 8)(), [])
  t.equal(table(1, 264)().length, 1, 'room for all eight is understood')
  t.throws(table(1, 39), { code: 'VUS_PAYLOAD_SIZE' })
  t.throws(table(8, 263), { code: 'VUS_PAYLOAD_SIZE' })
  t.throws(table(9, 264), { code: 'VUS_TOO_MANY_REGIONS' })
  t.throws(table(0xffffffff, 264), { code: 'VUS_TOO_MANY_REGIONS' })
})

t.test('IOTLB message', async (t) => {
  const message = fc.record({ iova: u53, size: u53, userAddress: u53, permissions: u8, type: u8 })
  fc.assert(
    fc.property(message, fc.nat(9), (m, offset) => {
      const bytes = encodeAt(IOTLB.SIZE, offset, (view, at) => encodeIotlb(view, at, m))
      t.same(bytes, naive([8, m.iova], [8, m.size], [8, m.userAddress], [1, m.permissions], [1, m.type], [6, 0]))
      t.same(decodeIotlb(viewAt(bytes, offset), offset), m)
    }),
  )
})
