import fc from 'fast-check'
import { Mapping } from 'memfd-mmap'
import t from 'tap'
import { CHAIN, GuestMemory, LENGTH_MAX, MAX_CHAIN, PACKED_DESC_F, PackedChain } from 'vhost-user-protocol-ts'
import { times } from '../../support/long.js'
import { naivePackedChain, type PackedWalk } from '../../support/vhost/naive-packed-chain.js'

const { NEXT, WRITE, INDIRECT, AVAIL, USED } = PACKED_DESC_F
const LOW = 0x1000
const HIGH = 2 ** 40
const LOW_SIZE = 0x4000
const HIGH_SIZE = 2 ** 20

/** Two regions with a gap, all in one mapping: guest address LOW is its first byte, HIGH comes behind. */
class Guest {
  readonly mapping = Mapping.anonymous(LOW_SIZE + HIGH_SIZE)
  readonly bytes = new Uint8Array(this.mapping.view())
  readonly view = new DataView(this.mapping.view())
  readonly memory = new GuestMemory([
    { guestAddress: LOW, size: LOW_SIZE, userAddress: 0, hostAddress: this.mapping.address },
    { guestAddress: HIGH, size: HIGH_SIZE, userAddress: LOW_SIZE, hostAddress: this.mapping.address + LOW_SIZE },
  ])

  /** A copy of guest memory; undefined unless all of it is in one region. */
  look(address: bigint, length: number): Uint8Array | undefined {
    for (const [start, size, place] of [
      [LOW, LOW_SIZE, 0],
      [HIGH, HIGH_SIZE, LOW_SIZE],
    ] as const) {
      const from = address - BigInt(start)
      if (from >= 0n && from + BigInt(length) <= BigInt(size)) {
        const at = place + Number(from)
        return this.bytes.slice(at, at + length)
      }
    }
    return undefined
  }
}

const guest = new Guest()
t.teardown(() => guest.mapping.retire())

interface Descriptor {
  readonly address?: bigint
  readonly length?: number
  readonly flags?: number
  readonly id?: number
}

function writeTable(into: DataView, at: number, descriptors: readonly Descriptor[]): void {
  descriptors.forEach(({ address = BigInt(LOW), length = 16, flags = 0, id = 0 }, i) => {
    into.setBigUint64(at + 16 * i, address, true)
    into.setUint32(at + 16 * i + 8, length, true)
    into.setUint16(at + 16 * i + 12, id, true)
    into.setUint16(at + 16 * i + 14, flags, true)
  })
}

/** Walks to the end; throws when there is none within `limit` descriptors. */
function walk(chain: PackedChain, head: number, limit: number): PackedWalk {
  const segments: PackedWalk['segments'] = []
  chain.start(head)
  for (let i = 0; i <= limit; i++) {
    const step = chain.next()
    if (step === CHAIN.END) {
      const { buffer } = chain
      return { segments, end: step, id: buffer & 0xffff, count: buffer >>> 16 }
    }
    if (step !== CHAIN.DESCRIPTOR) return { segments, end: step }
    segments.push({ address: chain.address, length: chain.length, writable: chain.writable })
  }
  throw new Error(`no end within ${limit} descriptors`)
}

/** A ring of 8 with the given descriptors, and the walk from a head; `indirect` is what is at TABLE. */
function walked(descriptors: readonly Descriptor[], head = 0, indirect?: readonly Descriptor[], allowed = true) {
  const ring = new DataView(new ArrayBuffer(16 * 8))
  writeTable(ring, 0, descriptors)
  if (indirect !== undefined) writeTable(guest.view, 0x100, indirect)
  return walk(new PackedChain(guest.memory, ring, 8, allowed), head, 100)
}

const TABLE = BigInt(LOW + 0x100)
const refers = (entries: number, o: Descriptor = {}): Descriptor => ({
  address: TABLE,
  length: 16 * entries,
  ...o,
  flags: INDIRECT | (o.flags ?? 0),
})
const addresses = ({ segments }: PackedWalk): number[] => segments.map(({ address }) => address)

t.test('chains that are right', async (t) => {
  t.same(walked([{ address: 5n, length: 0, id: 0xffff }]), {
    segments: [{ address: 5, length: 0, writable: false }],
    end: CHAIN.END,
    id: 0xffff,
    count: 1,
  })
  t.same(
    walked(
      [
        { address: 0xfffffffffffffn, length: 0xffffffff, flags: WRITE, id: 3 },
        {},
        {},
        {},
        {},
        {},
        {},
        { flags: NEXT, id: 4 },
      ],
      7,
    ),
    {
      segments: [
        { address: LOW, length: 16, writable: false },
        { address: 2 ** 52 - 1, length: LENGTH_MAX, writable: true },
      ],
      end: CHAIN.END,
      id: 3,
      count: 2,
    },
    'around the end of the ring; the id is that of the last one; the highest address, and a length as good as any such',
  )
  const all = walked(Array.from({ length: 8 }, (_, i) => ({ flags: i < 7 ? NEXT : 0 })))
  t.equal(all.count, 8, 'all descriptors of the ring in one chain')
  t.equal(walked([{ flags: NEXT | AVAIL }, { flags: WRITE | USED | 0x7f78 }]).end, CHAIN.END, 'other flags')
  const table = [
    { address: 1n, flags: 0xfffd & ~WRITE, id: 8 },
    { address: 2n, flags: WRITE | INDIRECT },
    { address: 3n, flags: WRITE | NEXT },
  ]
  const indirect = walked([refers(3, { flags: WRITE, id: 77 })], 0, table)
  t.same(indirect, {
    segments: [
      { address: 1, length: 16, writable: false },
      { address: 2, length: 16, writable: true },
      { address: 3, length: 16, writable: true },
    ],
    end: CHAIN.END,
    id: 77,
    count: 1,
  })
  t.same(addresses(walked([{}, {}, {}, {}, {}, {}, {}, refers(2)], 7, table)), [1, 2], 'as many as its length says')
  t.equal(walked([refers(20)], 0, Array(20).fill({})).segments.length, 20, 'a table may be longer than the ring')
})

t.test('chains that are broken', async (t) => {
  const far = { address: 0xffffffffffffffffn }
  const loop = Array.from({ length: 8 }, () => ({ flags: NEXT }))
  const cases: [string, PackedWalk, number, number][] = [
    ['a head beyond the ring', walked([], 8), 0, CHAIN.HEAD_OUT_OF_RANGE],
    ['no head', walked([], -1), 0, CHAIN.HEAD_OUT_OF_RANGE],
    ['longer than the ring', walked(loop, 3), 8, CHAIN.LOOP],
    ['no indirect table', walked([refers(0)]), 0, CHAIN.INDIRECT_LENGTH],
    ['half a descriptor', walked([{ ...refers(1), length: 24 }]), 0, CHAIN.INDIRECT_LENGTH],
    ['one byte', walked([{ ...refers(1), length: 1 }]), 0, CHAIN.INDIRECT_LENGTH],
    ['4 GiB of table', walked([{ ...refers(1), length: 0xfffffff0 }]), 0, CHAIN.INDIRECT_LENGTH],
    ['32769 entries', walked([refers(32769, { address: BigInt(HIGH) })]), 0, CHAIN.INDIRECT_LENGTH],
    ['a table at no memory', walked([refers(1, { address: 0n })]), 0, CHAIN.INDIRECT_ADDRESS],
    [
      'a table over the end of a region',
      walked([refers(2, { address: BigInt(LOW + LOW_SIZE - 16) })]),
      0,
      CHAIN.INDIRECT_ADDRESS,
    ],
    ['indirect, not negotiated', walked([refers(1)], 0, [{}], false), 0, CHAIN.INDIRECT_NOT_NEGOTIATED],
    ['indirect with a next', walked([refers(1, { flags: NEXT })], 0, [{}]), 0, CHAIN.INDIRECT_AND_NEXT],
    ['a direct one before it', walked([{ flags: NEXT }, refers(1)], 0, [{}]), 1, CHAIN.INDIRECT_AND_NEXT],
    ['readable after writable', walked([{ flags: NEXT | WRITE }, {}]), 1, CHAIN.READABLE_AFTER_WRITABLE],
    ['the same in a table', walked([refers(2)], 0, [{ flags: WRITE }, {}]), 1, CHAIN.READABLE_AFTER_WRITABLE],
    ['an address of 2^52', walked([{ address: 2n ** 52n }]), 0, CHAIN.ADDRESS_RANGE],
    ['an address and length beyond 2^64', walked([far]), 0, CHAIN.ADDRESS_RANGE],
    ['an indirect table up there', walked([refers(1, far)]), 0, CHAIN.ADDRESS_RANGE],
    ['an address up there in a table', walked([refers(2)], 0, [{}, far]), 1, CHAIN.ADDRESS_RANGE],
  ]
  for (const [name, { segments, end }, count, code] of cases) {
    t.equal(end, code, name)
    t.equal(segments.length, count, `${name}: descriptors before the fault`)
  }
})

t.test('chains longer than any request are not followed to their end', async (t) => {
  const ring = new DataView(new ArrayBuffer(16 * 32768))
  const small = new DataView(new ArrayBuffer(16))
  for (const [count, end] of [
    [MAX_CHAIN, CHAIN.END],
    [MAX_CHAIN + 1, CHAIN.TOO_LONG],
    [32768, CHAIN.TOO_LONG],
  ] as const) {
    writeTable(
      ring,
      0,
      Array.from({ length: count }, (_, i) => ({ flags: i < count - 1 ? NEXT : 0, id: 0xffff })),
    )
    const direct = walk(new PackedChain(guest.memory, ring, 32768, true), 0, 32768)
    t.equal(direct.end, end, `${count} in the ring`)
    t.equal(direct.segments.length, MAX_CHAIN)
    if (end === CHAIN.END) t.same([direct.id, direct.count], [0xffff, MAX_CHAIN], 'all of it fits into 31 bits')
    writeTable(small, 0, [refers(count, { address: BigInt(HIGH) })])
    writeTable(guest.view, LOW_SIZE, Array(count).fill({}))
    const indirect = walk(new PackedChain(guest.memory, small, 1, true), 0, 32768)
    t.equal(indirect.end, end, `${count} in a table`)
    t.equal(indirect.segments.length, MAX_CHAIN)
  }
})

t.test('a walker starts anew after any chain', async (t) => {
  const ring = new DataView(new ArrayBuffer(16 * 4))
  writeTable(ring, 0, [refers(2, { id: 5 }), { address: 77n, id: 6 }, { flags: WRITE | NEXT }, { flags: WRITE | NEXT }])
  writeTable(guest.view, 0x100, [{ flags: WRITE }, {}])
  const chain = new PackedChain(guest.memory, ring, 4, true)
  t.equal(walk(chain, 0, 100).end, CHAIN.READABLE_AFTER_WRITABLE)
  t.same(walk(chain, 1, 100), {
    segments: [{ address: 77, length: 16, writable: false }],
    end: CHAIN.END,
    id: 6,
    count: 1,
  })
  t.equal(walk(chain, 2, 100).end, CHAIN.INDIRECT_AND_NEXT)
  t.equal(walk(chain, 4, 100).end, CHAIN.HEAD_OUT_OF_RANGE)
  t.equal(walk(chain, 1, 100).count, 1)
  t.equal(chain.next(), CHAIN.END, 'the end stays the end')
})

const anyAddress = fc.oneof(
  { weight: 6, arbitrary: fc.nat(LOW_SIZE).map((n) => BigInt(LOW + n)) },
  { weight: 2, arbitrary: fc.nat(HIGH_SIZE).map((n) => BigInt(HIGH + n)) },
  { weight: 1, arbitrary: fc.bigInt(0n, 2n ** 64n - 1n) },
)
const anyLength = fc.oneof(
  { weight: 5, arbitrary: fc.nat(6).map((n) => 16 * n) },
  { weight: 1, arbitrary: fc.nat(0xffffffff) },
)
/** Mostly such that a chain goes on. */
const anyFlags = fc.oneof(
  { weight: 6, arbitrary: fc.constantFrom(NEXT, NEXT, WRITE, NEXT | WRITE, 0) },
  { weight: 2, arbitrary: fc.constantFrom(INDIRECT, INDIRECT | WRITE) },
  { weight: 1, arbitrary: fc.nat(0xffff) },
)
const descriptor = fc.record({ address: anyAddress, length: anyLength, flags: anyFlags, id: fc.nat(0xffff) })

t.test('any ring: the walk ends, and agrees with the naive one', async (t) => {
  const ends = new Map<number, number>()
  fc.assert(
    fc.property(
      fc.constantFrom(1, 2, 3, 7, 16, 33).chain((size) =>
        fc.record({
          size: fc.constant(size),
          ring: fc.array(descriptor, { minLength: size, maxLength: size }),
          heads: fc.array(fc.integer({ min: -1, max: size }), { minLength: 1, maxLength: 8 }),
        }),
      ),
      // All of low memory is descriptors: wherever an indirect table begins, there is something to follow.
      fc.array(descriptor, { minLength: 16, maxLength: 32 }),
      fc.boolean(),
      ({ size, ring, heads }, filling, allowed) => {
        for (let at = 0; at < LOW_SIZE; at += 16 * filling.length) {
          writeTable(guest.view, at, filling.slice(0, (LOW_SIZE - at) / 16))
        }
        const desc = new DataView(new ArrayBuffer(16 * size))
        writeTable(desc, 0, ring)
        const chain = new PackedChain(guest.memory, desc, size, allowed)
        for (const head of heads) {
          const expected = naivePackedChain((address, length) => guest.look(address, length), desc, size, allowed, head)
          const actual = walk(chain, head, size + 32768)
          ends.set(actual.end, (ends.get(actual.end) ?? 0) + 1)
          if (JSON.stringify(actual) !== JSON.stringify(expected)) {
            throw new Error(`head ${head}: ${JSON.stringify(actual)}, not ${JSON.stringify(expected)}`)
          }
        }
      },
    ),
    { numRuns: times(2000) },
  )
  const never: number[] = [CHAIN.DESCRIPTOR, CHAIN.TOO_LONG, CHAIN.NEXT_OUT_OF_RANGE, CHAIN.NESTED_INDIRECT]
  for (const [name, code] of Object.entries(CHAIN)) {
    const count = ends.get(code) ?? 0
    if (never.includes(code)) t.equal(count, 0, `${name} never came up`)
    else t.ok(count > 0, `${name} came up ${count} times`)
  }
})
