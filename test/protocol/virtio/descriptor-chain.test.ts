import fc from 'fast-check'
import { Mapping } from 'memfd-mmap'
import t from 'tap'
import {
  CHAIN,
  CHAIN_FAULTS,
  DESC_F,
  DescriptorChain,
  GuestMemory,
  LENGTH_MAX,
  MAX_CHAIN,
} from 'vhost-user-protocol-ts'
import { times } from '../../support/long.js'
import { naiveChain, type Segment, type Walk } from '../../support/vhost/naive-chain.js'

const { NEXT, WRITE, INDIRECT } = DESC_F
const LOW = 0x1000
const HIGH = 2 ** 40
const LOW_SIZE = 0x4000
const HIGH_SIZE = 2 ** 20

/** Two regions with a gap, all in one mapping: guest address LOW is its first byte, HIGH comes behind. */
class Guest {
  readonly mapping = Mapping.anonymous(LOW_SIZE + HIGH_SIZE)
  readonly bytes = new Uint8Array(this.mapping.view())
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

interface Descriptor {
  readonly address?: bigint
  readonly length?: number
  readonly flags?: number
  readonly next?: number
}

function writeTable(into: DataView, at: number, descriptors: readonly Descriptor[]): void {
  descriptors.forEach(({ address = BigInt(LOW), length = 16, flags = 0, next = 0 }, i) => {
    into.setBigUint64(at + 16 * i, address, true)
    into.setUint32(at + 16 * i + 8, length, true)
    into.setUint16(at + 16 * i + 12, flags, true)
    into.setUint16(at + 16 * i + 14, next, true)
  })
}

/** Walks to the end; throws when there is none within `limit` descriptors. */
function walk(chain: DescriptorChain, head: number, limit: number): Walk {
  const segments: Segment[] = []
  chain.start(head)
  for (let i = 0; i <= limit; i++) {
    const step = chain.next()
    if (step !== CHAIN.DESCRIPTOR) return { segments, end: step }
    segments.push({ address: chain.address, length: chain.length, writable: chain.writable })
  }
  throw new Error(`no end within ${limit} descriptors`)
}

/** A direct table of 8 with the given descriptors, and the walk from a head. */
function direct(descriptors: readonly Descriptor[], head = 0, indirect?: readonly Descriptor[], allowed = true): Walk {
  const guest = new Guest()
  const table = new DataView(new ArrayBuffer(16 * 8))
  writeTable(table, 0, descriptors)
  if (indirect !== undefined) writeTable(new DataView(guest.bytes.buffer), 0x100, indirect)
  return walk(new DescriptorChain(guest.memory, table, 8, allowed), head, 100)
}

const TABLE = BigInt(LOW + 0x100)
const refers = (entries: number, flags = 0): Descriptor => ({
  address: TABLE,
  length: 16 * entries,
  flags: INDIRECT | flags,
})

t.test('chains that are right', async (t) => {
  t.same(direct([{ address: 5n, length: 0 }]), {
    segments: [{ address: 5, length: 0, writable: false }],
    end: CHAIN.END,
  })
  t.same(
    direct(
      [{ address: 0xfffffffffffffn, length: 0xffffffff, flags: WRITE }, {}, { address: 7n, flags: NEXT, next: 0 }],
      2,
    ),
    {
      segments: [
        { address: 7, length: 16, writable: false },
        { address: 2 ** 52 - 1, length: LENGTH_MAX, writable: true },
      ],
      end: CHAIN.END,
    },
    'the highest address, and a length that is as good as any such',
  )
  const all = Array.from({ length: 8 }, (_, i) => ({ flags: i < 7 ? NEXT : 0, next: i + 1 }))
  t.equal(direct(all).segments.length, 8, 'all descriptors of the ring in one chain')
  const table = [
    { address: 1n, flags: NEXT, next: 2 },
    { address: 3n, flags: WRITE },
    { address: 2n, flags: NEXT | WRITE, next: 1 },
  ]
  t.same(
    direct([refers(3, WRITE)], 0, table).segments.map(({ address }) => address),
    [1, 2, 3],
    'an indirect table, whose own WRITE flag counts for nothing',
  )
  t.same(
    direct([{ address: 9n, flags: NEXT, next: 1 }, refers(3)], 0, table).segments.map(({ address }) => address),
    [9, 1, 2, 3],
    'a direct descriptor before it',
  )
  const long = Array.from({ length: 20 }, (_, i) => ({ flags: i < 19 ? NEXT : 0, next: i + 1 }))
  t.equal(direct([refers(20)], 0, long).segments.length, 20, 'an indirect table may be longer than the ring')
})

t.test('chains that are broken', async (t) => {
  const far = { address: 0xffffffffffffffffn }
  const cases: [string, Walk, number, number][] = [
    ['a head beyond the table', direct([], 8), 0, CHAIN.HEAD_OUT_OF_RANGE],
    ['the highest head', direct([], 65535), 0, CHAIN.HEAD_OUT_OF_RANGE],
    ['a next beyond the table', direct([{ flags: NEXT, next: 8 }]), 1, CHAIN.NEXT_OUT_OF_RANGE],
    ['a next beyond an indirect table', direct([refers(1)], 0, [{ flags: NEXT, next: 1 }]), 1, CHAIN.NEXT_OUT_OF_RANGE],
    ['a descriptor that follows itself', direct([{ flags: NEXT }]), 8, CHAIN.LOOP],
    ['two in a circle', direct([{ flags: NEXT, next: 1 }, { flags: NEXT }]), 8, CHAIN.LOOP],
    ['an indirect circle', direct([refers(3)], 0, [{ flags: NEXT }]), 3, CHAIN.LOOP],
    ['indirect in indirect', direct([refers(2)], 0, [{ flags: NEXT, next: 1 }, refers(1)]), 1, CHAIN.NESTED_INDIRECT],
    ['no indirect table', direct([refers(0)]), 0, CHAIN.INDIRECT_LENGTH],
    ['half a descriptor', direct([{ ...refers(1), length: 24 }]), 0, CHAIN.INDIRECT_LENGTH],
    ['one byte', direct([{ ...refers(1), length: 1 }]), 0, CHAIN.INDIRECT_LENGTH],
    ['4 GiB of table', direct([{ ...refers(1), length: 0xfffffff0 }]), 0, CHAIN.INDIRECT_LENGTH],
    [
      '32769 entries',
      direct([{ address: BigInt(HIGH), length: 16 * 32769, flags: INDIRECT }]),
      0,
      CHAIN.INDIRECT_LENGTH,
    ],
    ['a table at no memory', direct([{ address: 0n, length: 16, flags: INDIRECT }]), 0, CHAIN.INDIRECT_ADDRESS],
    [
      'a table over the end of a region',
      direct([{ address: BigInt(LOW + LOW_SIZE - 16), length: 32, flags: INDIRECT }]),
      0,
      CHAIN.INDIRECT_ADDRESS,
    ],
    ['indirect, not negotiated', direct([refers(1)], 0, [{}], false), 0, CHAIN.INDIRECT_NOT_NEGOTIATED],
    ['indirect with a next', direct([refers(1, NEXT)], 0, [{}]), 0, CHAIN.INDIRECT_AND_NEXT],
    ['readable after writable', direct([{ flags: NEXT | WRITE, next: 1 }, {}]), 1, CHAIN.READABLE_AFTER_WRITABLE],
    [
      'the same, the second in a table',
      direct([{ flags: NEXT | WRITE, next: 1 }, refers(1)], 0, [{}]),
      1,
      CHAIN.READABLE_AFTER_WRITABLE,
    ],
    ['an address of 2^52', direct([{ address: 2n ** 52n }]), 0, CHAIN.ADDRESS_RANGE],
    ['an address and length beyond 2^64', direct([far]), 0, CHAIN.ADDRESS_RANGE],
    ['an indirect table up there', direct([{ ...far, flags: INDIRECT }]), 0, CHAIN.ADDRESS_RANGE],
  ]
  for (const [name, { segments, end }, count, code] of cases) {
    t.equal(end, code, name)
    t.equal(segments.length, count, `${name}: descriptors before the fault`)
  }
  const tested = new Set(cases.map(([, , , code]) => code))
  const faults = Object.values(CHAIN).filter((code) => code < 0 && code !== CHAIN.TOO_LONG)
  t.same([...tested].sort(), faults.sort(), 'every code was met, but one')
  t.equal(direct([{ address: BigInt(HIGH), length: 16 * 32768, flags: INDIRECT }]).end, CHAIN.END, '32768 are allowed')
})

t.test('chains longer than any request are not followed to their end', async (t) => {
  const guest = new Guest()
  const links = (count: number): Descriptor[] =>
    Array.from({ length: count }, (_, i) => ({ flags: i < count - 1 ? NEXT : 0, next: i + 1 }))
  const ring = new DataView(new ArrayBuffer(16 * 32768))
  for (const [count, end] of [
    [MAX_CHAIN, CHAIN.END],
    [MAX_CHAIN + 1, CHAIN.TOO_LONG],
    [32768, CHAIN.TOO_LONG],
  ] as const) {
    writeTable(ring, 0, links(count))
    const direct = walk(new DescriptorChain(guest.memory, ring, 32768, true), 0, 32768)
    t.equal(direct.end, end, `${count} in the ring`)
    t.equal(direct.segments.length, MAX_CHAIN)
    const descriptor = { address: BigInt(HIGH), length: 16 * count, flags: INDIRECT }
    const small = new DataView(new ArrayBuffer(16))
    writeTable(small, 0, [descriptor])
    writeTable(new DataView(guest.bytes.buffer), LOW_SIZE, links(count))
    const indirect = walk(new DescriptorChain(guest.memory, small, 1, true), 0, 32768)
    t.equal(indirect.end, end, `${count} in a table`)
    t.equal(indirect.segments.length, MAX_CHAIN)
  }
  writeTable(ring, 0, [{ flags: NEXT }])
  t.equal(walk(new DescriptorChain(guest.memory, ring, 32768, true), 0, 32768).end, CHAIN.TOO_LONG, 'a loop among many')
  t.equal(walk(new DescriptorChain(guest.memory, ring, 32768, true), 32768, 9).end, CHAIN.HEAD_OUT_OF_RANGE)
})

t.test('every fault has a name of its own', async (t) => {
  const codes = Object.values(CHAIN).filter((code) => code < 0)
  const names = codes.map((code) => CHAIN_FAULTS[code]!)
  t.ok(names.every((name) => /^VUS_RING_[A-Z_]+$/.test(name)))
  t.equal(new Set(names).size, codes.length)
})

t.test('a walker starts anew after any chain', async (t) => {
  const guest = new Guest()
  const table = new DataView(new ArrayBuffer(16 * 8))
  writeTable(table, 0, [{ flags: WRITE | NEXT, next: 0 }, refers(1), { address: 77n }])
  const chain = new DescriptorChain(guest.memory, table, 8, true)
  t.equal(walk(chain, 0, 100).end, CHAIN.LOOP)
  t.equal(walk(chain, 2, 100).segments[0]?.address, 77)
  t.equal(walk(chain, 1, 100).end, CHAIN.END)
  t.same(walk(chain, 2, 100).segments, [{ address: 77, length: 16, writable: false }])
  t.equal(walk(chain, 9, 100).end, CHAIN.HEAD_OUT_OF_RANGE)
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
const descriptor = (entries: number): fc.Arbitrary<Required<Descriptor>> =>
  fc.record({
    address: anyAddress,
    length: anyLength,
    flags: anyFlags,
    next: fc.oneof({ weight: 9, arbitrary: fc.nat(entries) }, { weight: 1, arbitrary: fc.nat(0xffff) }),
  })

t.test('any table: the walk ends, and agrees with the naive one', async (t) => {
  const guest = new Guest()
  const view = new DataView(guest.bytes.buffer)
  const ends = new Map<number, number>()
  fc.assert(
    fc.property(
      fc.constantFrom(1, 2, 4, 8, 16, 64).chain((size) =>
        fc.record({
          size: fc.constant(size),
          table: fc.array(descriptor(size), { minLength: size, maxLength: size }),
          heads: fc.array(fc.nat(size), { minLength: 1, maxLength: 8 }),
        }),
      ),
      // All of low memory is descriptors: wherever an indirect table begins, there is something to follow.
      fc.array(descriptor(5), { minLength: 16, maxLength: 32 }),
      fc.boolean(),
      ({ size, table, heads }, filling, allowed) => {
        for (let at = 0; at < LOW_SIZE; at += 16 * filling.length) {
          writeTable(view, at, filling.slice(0, (LOW_SIZE - at) / 16))
        }
        const desc = new DataView(new ArrayBuffer(16 * size))
        writeTable(desc, 0, table)
        const chain = new DescriptorChain(guest.memory, desc, size, allowed)
        for (const head of heads) {
          const expected = naiveChain((address, length) => guest.look(address, length), desc, size, allowed, head)
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
  for (const [name, code] of Object.entries(CHAIN)) {
    if (code !== CHAIN.DESCRIPTOR && code !== CHAIN.TOO_LONG)
      t.ok((ends.get(code) ?? 0) > 0, `${name} came up ${ends.get(code)} times`)
  }
})
