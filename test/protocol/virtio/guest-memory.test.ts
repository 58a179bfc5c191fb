import fc from 'fast-check'
import { createMemfd, Mapping, raw } from 'memfd-mmap'
import t from 'tap'
import { GuestMemory, MAX_LOCATE, type MappedRegion, WINDOW_STRIDE } from 'vhost-user-protocol-ts'
import type { Teardown } from '../../support/teardown.js'

const KIB = 2 ** 10
const MIB = 2 ** 20
const GIB = 2 ** 30

/** A sparse memfd and its mapping, gone at the end of the test. */
function memfd(t: Teardown, size: number): { fd: number; mapping: Mapping } {
  const fd = createMemfd('guest', size)
  const mapping = Mapping.map({ fd, length: size })
  t.teardown(() => {
    raw.close(fd)
    mapping.retire()
  })
  return { fd, mapping }
}

/** The bytes of a file by way of the kernel: what is there whatever this process has mapped. */
function fileBytes(fd: number, offset: number, length: number): Uint8Array {
  const into = Mapping.anonymous(length)
  try {
    if (raw.pread(fd, into.address, length, offset) !== length) throw new Error(`no ${length} bytes at ${offset}`)
    return new Uint8Array(into.view()).slice()
  } finally {
    into.retire()
  }
}

const same = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) === 0

const region = (guestAddress: number, size: number, hostAddress: number, userAddress = guestAddress): MappedRegion => ({
  guestAddress,
  size,
  userAddress,
  hostAddress,
})

t.test('no memory', async (t) => {
  const memory = new GuestMemory([])
  t.equal(memory.translate(0, 1), -1)
  t.equal(memory.translate(0, 0), -1)
  t.equal(memory.contiguous(0), 0)
  t.equal(memory.locate(0, 1), false)
  t.equal(memory.translateUser(0, 1), -1)
  t.equal(memory.read(0, new Uint8Array(1), 0, 1), false)
  t.equal(memory.write(0, new Uint8Array(1), 0, 1), false)
  t.equal(memory.read(0, new Uint8Array(1), 0, 0), true, 'nothing of nothing is no fault')
  t.throws(() => memory.copyToHost(4096, new Uint8Array(1), 0, 1), RangeError)
})

t.test('regions, gaps and borders', async (t) => {
  const { mapping } = memfd(t, 4 * MIB)
  const at = mapping.address
  // In no order; the second and the third adjoin in the guest but not here.
  const memory = new GuestMemory([
    region(64 * GIB, MIB, at + 3 * MIB),
    region(2 * MIB, 64 * KIB, at + 2 * MIB),
    region(0, 2 * MIB, at),
  ])
  t.same(
    memory.regions.map(({ guestAddress }) => guestAddress),
    [0, 2 * MIB, 64 * GIB],
  )
  t.equal(memory.translate(0, 1), at)
  t.equal(memory.translate(0, 2 * MIB), at, 'a whole region')
  t.equal(memory.translate(0, 2 * MIB + 1), -1, 'over a border')
  t.equal(memory.translate(2 * MIB - 1, 1), at + 2 * MIB - 1)
  t.equal(memory.translate(2 * MIB - 1, 2), -1)
  t.equal(memory.translate(2 * MIB, 1), at + 2 * MIB)
  t.equal(memory.translate(2 * MIB + 64 * KIB - 1, 1), at + 2 * MIB + 64 * KIB - 1)
  t.equal(memory.translate(2 * MIB + 64 * KIB, 1), -1, 'in the gap')
  t.equal(memory.translate(64 * GIB - 1, 1), -1, 'the end of the gap')
  t.equal(memory.translate(64 * GIB - 1, 2), -1, 'from a gap into a region')
  t.equal(memory.translate(64 * GIB + 5, 7), at + 3 * MIB + 5)
  t.equal(memory.translate(64 * GIB + MIB, 1), -1, 'beyond the last')
  t.equal(memory.translate(2 ** 52 - 1, 2 ** 32 - 1), -1, 'the highest address that a descriptor can have')
  t.equal(memory.contiguous(0), 2 * MIB)
  t.equal(memory.contiguous(2 * MIB - 1), 1)
  t.equal(memory.contiguous(2 * MIB), 64 * KIB)
  t.equal(memory.contiguous(2 * MIB + 64 * KIB), 0)
  t.equal(memory.locate(2 * MIB - 8, 16), false)
  t.equal(memory.locate(2 * MIB - 8, 8), true)
  t.equal(memory.offset, 2 * MIB - 8)
})

t.test('user addresses have an order of their own', async (t) => {
  const { mapping } = memfd(t, 3 * MIB)
  const at = mapping.address
  const memory = new GuestMemory([
    region(0, MIB, at, 0x7f00_0020_0000),
    region(GIB, MIB, at + MIB, 0x7f00_0000_0000),
    region(2 * GIB, MIB, at + 2 * MIB, 0x7f00_0030_0000),
  ])
  t.equal(memory.translateUser(0x7f00_0020_0000, MIB), at)
  t.equal(memory.translateUser(0x7f00_0020_0010, 16), at + 16)
  t.equal(memory.translateUser(0x7f00_0000_0000, 1), at + MIB)
  t.equal(memory.translateUser(0x7f00_0010_0000, 1), -1, 'behind a region')
  t.equal(memory.translateUser(0x7f00_0010_0000 - 1, 2), -1)
  t.equal(memory.translateUser(0x7f00_002f_ffff, 2), -1, 'over the border of two that adjoin')
  t.equal(memory.translateUser(0x7f00_002f_ffff, 1), at + MIB - 1)
  t.equal(memory.translateUser(0, 1), -1, 'a guest address is none')
  t.equal(memory.translateUser(2 ** 53 - 1, 2 ** 20), -1)
})

t.test('windows of a region larger than any view', async (t) => {
  const size = 5 * GIB + 3 * MIB
  const { fd, mapping } = memfd(t, size)
  const base = 16 * GIB
  const memory = new GuestMemory([region(base, size, mapping.address)])
  const half = GIB / 2
  const places = [0, 1, half - 1, half, half + MIB - 1, half + MIB, GIB, 4 * GIB - 3, 4 * GIB, 4 * GIB + 1, size - 8]
  for (const place of places) {
    t.equal(memory.locate(base + place, 8), true, `at 0x${place.toString(16)}`)
    memory.views[memory.window]!.setBigUint64(memory.offset, BigInt(place) ^ 0x0123_4567_89ab_cdefn, true)
    const expected = new DataView(new ArrayBuffer(8))
    expected.setBigUint64(0, BigInt(place) ^ 0x0123_4567_89ab_cdefn, true)
    t.ok(same(fileBytes(fd, place, 8), new Uint8Array(expected.buffer)))
  }
  t.equal(memory.locate(base + size - 8, 9), false)
  const long = new Uint8Array(MAX_LOCATE).map((_, i) => i * 7 + 1)
  for (const place of [half - 1, half - MAX_LOCATE, 4 * GIB - 1, size - MAX_LOCATE]) {
    t.equal(memory.locate(base + place, MAX_LOCATE), true, `${MAX_LOCATE} bytes at 0x${place.toString(16)}`)
    memory.bytes[memory.window]!.set(long, memory.offset)
    t.ok(same(fileBytes(fd, place, MAX_LOCATE), long))
  }
})

t.test('terabytes of sparse memory cost nothing before they are used', async (t) => {
  const size = 4 * 2 ** 40
  const { mapping } = memfd(t, size)
  const external = process.memoryUsage().external
  const memory = new GuestMemory([region(0, size, mapping.address)])
  t.ok(process.memoryUsage().external - external < GIB, 'no view was made')
  t.equal(memory.translate(size - 1, 1), mapping.address + size - 1)
  t.equal(memory.locate(size - 1, 1), true)
  t.ok(process.memoryUsage().external - external < GIB, 'one view, of the last window')
})

t.test('read and write go over the borders of regions that adjoin', async (t) => {
  const { fd, mapping } = memfd(t, 4 * MIB)
  const at = mapping.address
  const memory = new GuestMemory([
    region(0, MIB, at + 2 * MIB),
    region(MIB, 2 * MIB, at),
    region(4 * MIB, 4 * KIB, at + 3 * MIB),
  ])
  const bytes = new Uint8Array(2 * MIB + 20).map((_, i) => (i * 31) >> 3)
  t.equal(memory.write(MIB - 10, bytes, 5, 2 * MIB + 10), true, 'more than one window can hold, over a border')
  t.ok(same(fileBytes(fd, 3 * MIB - 10, 10), bytes.slice(5, 15)))
  t.ok(same(fileBytes(fd, 0, 2 * MIB), bytes.slice(15, 2 * MIB + 15)))
  const back = new Uint8Array(bytes.length)
  t.equal(memory.read(MIB - 10, back, 5, 2 * MIB + 10), true)
  t.ok(same(back.slice(5, 2 * MIB + 15), bytes.slice(5, 2 * MIB + 15)))
  t.ok(same(back.slice(0, 5), new Uint8Array(5)))

  t.equal(memory.write(3 * MIB - 4, Uint8Array.of(1, 2, 3, 4, 5, 6), 0, 6), false, 'the end is not memory')
  t.same([...fileBytes(fd, 2 * MIB - 4, 4)], [1, 2, 3, 4], 'what is, was written')
  const part = new Uint8Array(8).fill(0xee)
  t.equal(memory.read(3 * MIB - 4, part, 0, 8), false)
  t.same([...part], [1, 2, 3, 4, 0xee, 0xee, 0xee, 0xee])
  t.equal(memory.read(3 * MIB, part, 0, 1), false, 'nothing at all')
})

t.test('copies by host address', async (t) => {
  const size = GIB + 2 * MIB
  const { fd, mapping } = memfd(t, size)
  const memory = new GuestMemory([region(8 * GIB, GIB + MIB, mapping.address + MIB), region(0, MIB, mapping.address)])
  const bytes = new Uint8Array(70000).map((_, i) => i * 13)
  const places = [0, MIB - 70000, GIB / 2 + MIB - 3, GIB + MIB - 100, size - 70000]
  for (const place of places) {
    const host = mapping.address + place
    memory.copyToHost(host, bytes, 1, 69999)
    t.ok(same(fileBytes(fd, place, 69999), bytes.slice(1)))
    const back = new Uint8Array(70002)
    memory.copyFromHost(host, back, 2, 69999)
    t.ok(same(back, Uint8Array.of(0, 0, ...bytes.slice(1), 0)))
  }
  for (const host of [mapping.address - 1, mapping.address + size]) {
    t.throws(() => memory.copyToHost(host, bytes, 0, 1), RangeError)
    t.throws(() => memory.copyFromHost(host, bytes, 0, 1), RangeError)
  }
})

/** Guest memory as a list of (guest address, byte) facts: a plain map from address to place in the backing store. */
function naive(regions: readonly MappedRegion[], base: number) {
  const places = new Map<number, number>()
  for (const { guestAddress, size, hostAddress } of regions) {
    for (let i = 0; i < size; i++) places.set(guestAddress + i, hostAddress - base + i)
  }
  const run = (address: number, length: number): number => {
    const first = places.get(address)
    const owner = regions.find((r) => address >= r.guestAddress && address < r.guestAddress + r.size)
    if (first === undefined || owner === undefined) return -1
    for (let i = 0; i < length; i++) if (places.get(address + i) === undefined) return -1
    return address + length <= owner.guestAddress + owner.size ? base + first : -1
  }
  return { places, run }
}

t.test('any table agrees with the naive one', async (t) => {
  const { mapping } = memfd(t, 64 * KIB)
  const store = new Uint8Array(mapping.view())
  const tables = fc
    .array(fc.record({ gap: fc.nat(20), size: fc.integer({ min: 1, max: 60 }), hole: fc.nat(9) }), { maxLength: 8 })
    .map((list) => {
      let guest = 0
      let host = mapping.address
      const regions = list.map(({ gap, size, hole }) => {
        guest += gap
        host += hole
        const one = region(guest, size, host)
        guest += size
        host += size
        return one
      })
      // The places of their bytes need not be in the guest's order.
      const hosts = regions.map(({ hostAddress, size }) => ({ hostAddress, size }))
      return regions.map((one, i) => {
        const other = hosts[regions.length - 1 - i]!
        return other.size >= one.size ? { ...one, hostAddress: other.hostAddress } : one
      })
    })
    .filter((regions) => {
      const used = new Set<number>()
      for (const { hostAddress, size } of regions)
        for (let i = 0; i < size; i++) {
          if (used.has(hostAddress + i)) return false
          used.add(hostAddress + i)
        }
      return true
    })
  fc.assert(
    fc.property(
      tables,
      fc.array(fc.tuple(fc.nat(600), fc.nat(150)), { minLength: 1, maxLength: 40 }),
      (regions, accesses) => {
        const memory = new GuestMemory(regions)
        const model = naive(regions, mapping.address)
        store.fill(0)
        const shadow = new Uint8Array(store.length)
        accesses.forEach(([address, length], n) => {
          if (length > 0) {
            const expected = model.run(address, length)
            if (memory.translate(address, length) !== expected) throw new Error(`translate ${address}, ${length}`)
            if (memory.locate(address, length) !== expected >= 0) throw new Error(`locate ${address}, ${length}`)
          }
          const owner = regions.find((r) => address >= r.guestAddress && address < r.guestAddress + r.size)
          const left = owner === undefined ? 0 : owner.guestAddress + owner.size - address
          if (memory.contiguous(address) !== left) throw new Error(`contiguous ${address}`)

          let present = 0
          while (present < length && model.places.has(address + present)) present++
          const bytes = new Uint8Array(length).map((_, i) => 1 + ((n * 53 + i) % 255))
          if (memory.write(address, bytes, 0, length) !== (present === length)) throw new Error('write')
          for (let i = 0; i < present; i++) shadow[model.places.get(address + i)!] = bytes[i]!
          const back = new Uint8Array(length)
          if (memory.read(address, back, 0, length) !== (present === length)) throw new Error('read')
          for (let i = 0; i < length; i++) if (back[i] !== (i < present ? bytes[i] : 0)) throw new Error('read bytes')
        })
        return Buffer.compare(store, shadow) === 0
      },
    ),
    { numRuns: 300 },
  )
  t.pass('translate, contiguous, locate, read and write')
})

t.test('back to guest addresses', async (t) => {
  const { mapping } = memfd(t, 2 * GIB)
  const at = mapping.address
  const memory = new GuestMemory([
    region(64 * GIB, MIB, at + GIB + 600 * MIB),
    region(3 * MIB, 8 * KIB, at + GIB + 700 * MIB),
    region(5 * GIB + 4 * KIB, GIB + 512 * MIB + 12 * KIB, at),
  ])
  for (const { guestAddress, size, hostAddress } of memory.regions) {
    for (const offset of [0, 1, 4095, size - 16, size / 2, Math.min(size - 16, WINDOW_STRIDE + 77)]) {
      const address = guestAddress + Math.floor(offset)
      t.ok(memory.locate(address, 16))
      t.equal(memory.guestOfWindow(memory.window, memory.offset), address)
      t.equal(memory.guestOfHost(hostAddress + Math.floor(offset)), address)
    }
    t.equal(memory.guestOfHost(hostAddress + size - 1), guestAddress + size - 1)
    t.equal(memory.guestOfHost(hostAddress + size), -1)
  }
  t.equal(memory.guestOfHost(at - 1), -1)
  t.equal(new GuestMemory([]).guestOfHost(4096), -1)
})
