import fc from 'fast-check'
import t from 'tap'
import { type MemoryRegion, MemoryTable } from 'vhost-user-protocol-ts'

const at = (
  guestAddress: number,
  size: number,
  userAddress = guestAddress + 0x7f0000000000,
  mmapOffset = 0,
): MemoryRegion => ({
  guestAddress,
  size,
  userAddress,
  mmapOffset,
})

const TOP = 2 ** 53

t.test('regions by themselves', async (t) => {
  const table = new MemoryTable(8)
  const check = (region: MemoryRegion) => () => table.checkAll([region])
  check(at(0, 1))()
  check(at(TOP - 0x1000, 0x1000, 0))()
  t.throws(check(at(0, 0)), { code: 'VUS_REGION_EMPTY' })
  t.throws(check(at(TOP - 0x1000, 0x1001, 0)), { code: 'VUS_REGION_OVERFLOW' })
  t.throws(check(at(0, 0x1001, TOP - 0x1000)), { code: 'VUS_REGION_OVERFLOW' })
  t.throws(check(at(0, 0x1001, 0, TOP - 0x1000)), { code: 'VUS_REGION_OVERFLOW' })
  check(at(1, TOP - 1, 0))()
  t.throws(check(at(2, TOP - 1, 0)), { code: 'VUS_REGION_OVERFLOW' }, '2^53 + 1 is not rounded down')
})

t.test('overlaps are found as the plain comparison of all pairs finds them', async (t) => {
  const small = fc.record({ guestAddress: fc.nat(30), size: fc.integer({ min: 1, max: 6 }), userAddress: fc.nat(30) })
  const pages = (start: number, size: number) => Array.from({ length: size }, (_, i) => start + i)
  fc.assert(
    fc.property(fc.array(small, { maxLength: 5 }), (shapes) => {
      const regions = shapes.map((shape) => ({ ...shape, mmapOffset: 0 }))
      const guest = regions.flatMap((r) => pages(r.guestAddress, r.size))
      const user = regions.flatMap((r) => pages(r.userAddress, r.size))
      const clash = new Set(guest).size < guest.length || new Set(user).size < user.length
      const table = new MemoryTable(8)
      if (clash) t.throws(() => table.checkAll(regions), { code: 'VUS_REGION_OVERLAP' })
      else table.checkAll(regions)
    }),
    { numRuns: 300 },
  )
})

t.test('slots', async (t) => {
  const table = new MemoryTable(2)
  const [a, b, c] = [at(0, 0x1000), at(0x1000, 0x1000), at(0x2000, 0x1000)] as const
  for (const region of [a, b]) {
    table.checkAdd(region)
    table.add(region)
  }
  t.throws(() => table.checkAdd(c), { code: 'VUS_TOO_MANY_REGIONS' })
  table.remove(a)
  t.throws(() => table.checkAdd(b), { code: 'VUS_REGION_OVERLAP' }, 'the same region again')
  t.throws(() => table.checkAdd(at(0x1fff, 1, 0)), { code: 'VUS_REGION_OVERLAP' })
  t.throws(() => table.checkAdd(at(0x9000, 1, b.userAddress)), { code: 'VUS_REGION_OVERLAP' })
  t.throws(() => table.checkAdd(at(0x9000, 0)), { code: 'VUS_REGION_EMPTY' })
  table.checkAdd(c)
  table.add(c)
  t.same(table.regions, [b, c])
  table.replace([a])
  t.same(table.regions, [a])
})

t.test('a region to remove is found by both addresses and size, whatever its offset', async (t) => {
  const table = new MemoryTable(8)
  const region = at(0x1000, 0x2000, 0x500000, 0x3000)
  table.add(region)
  t.equal(table.find({ ...region, mmapOffset: 0 }), region)
  for (const key of ['guestAddress', 'size', 'userAddress'] as const) {
    t.throws(() => table.find({ ...region, [key]: region[key] + 1 }), { code: 'VUS_UNKNOWN_REGION' })
  }
})
