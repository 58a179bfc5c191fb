import fc from 'fast-check'
import { Mapping } from 'memfd-mmap'
import t from 'tap'
import {
  CMD_REQUEST,
  CMD_RESPONSE,
  DESC_F,
  GuestMemory,
  type MappedRegion,
  SplitVirtqueue,
} from 'vhost-user-protocol-ts'
import type { Request } from '../../iothreads/request.js'
import { READ, RequestReader } from '../../iothreads/request-reader.js'
import { RequestTable } from '../../iothreads/request-table.js'
import { UsualFraming } from '../../iothreads/usual-framing.js'

const SIZE = 16
const TABLE = 0x3000
const GUEST = 0x8000_0000
const BYTES = 65536

const mapping = Mapping.anonymous(BYTES)
const elsewhere = Mapping.anonymous(16 * BYTES)
const region: MappedRegion = { guestAddress: GUEST, size: BYTES, userAddress: 0, hostAddress: mapping.address }
// The largest region lies elsewhere: nothing is usual then.
const larger: MappedRegion = { guestAddress: 0, size: 16 * BYTES, userAddress: 2 ** 40, hostAddress: elsewhere.address }

const bytes = new Uint8Array(mapping.view())
const words = new Uint32Array(bytes.buffer)
const queue = new SplitVirtqueue({
  size: SIZE,
  desc: mapping.view(0, 16 * SIZE),
  avail: mapping.view(0x1000, 6 + 2 * SIZE),
  used: mapping.view(0x2000, 6 + 8 * SIZE),
  base: 0,
  eventIdx: false,
})

interface Descriptor {
  address: number
  length: number
  flags: number
  next: number
}

function write(at: number, d: Descriptor): void {
  words[at / 4] = d.address
  words[at / 4 + 1] = d.address / 2 ** 32
  words[at / 4 + 2] = d.length
  words[at / 4 + 3] = (d.flags | (d.next << 16)) >>> 0
}

function outcome(request: Request, table: RequestTable) {
  const { head, outSegments, inSegments, outLength, inLength, responseOffset, scatterCount } = request
  const { tagLow, tagHigh, target, lun, task } = request
  const first = request.firstSegment
  const segments = [...table.segments.subarray(first, first + 2 * (outSegments + inSegments))]
  const cdb = [...task.cdbBytes.subarray(0, 16)]
  const counts = { head, outSegments, inSegments, outLength, inLength, responseOffset, scatterCount }
  return JSON.stringify({ ...counts, tagLow, tagHigh, target, lun, segments, cdb })
}

const memory = new GuestMemory([region])
memory.locate(GUEST, BYTES)

function both(head: number, indirectAllowed: boolean): { taken: boolean; fast: string; code: number; slow: string } {
  const fastTable = new RequestTable(0, SIZE)
  const slowTable = new RequestTable(0, SIZE)
  const fast = fastTable.take()!
  const slow = slowTable.take()!
  const taken = new UsualFraming(memory, queue, fastTable, indirectAllowed).read(head, fast)
  const code = new RequestReader(new GuestMemory([larger, region]), queue, slowTable, indirectAllowed).read(head, slow)
  const result = { taken, fast: outcome(fast, fastTable), code, slow: outcome(slow, slowTable) }
  fastTable.release()
  slowTable.release()
  return result
}

const HEADER = { address: GUEST + 0x4001, length: CMD_REQUEST.SIZE, flags: DESC_F.NEXT, next: 1 }
const RESPONSE = { address: GUEST + 0x5003, length: CMD_RESPONSE.SIZE, flags: DESC_F.WRITE, next: 0 }

t.test('takes what drivers make', async (t) => {
  for (let i = 0; i < 64; i++) bytes[0x4001 + i] = 7 * i + 1
  bytes.set([1, 3, 0x41, 2], 0x4001)
  const data = { address: GUEST + 0x8000, length: 4096 }
  const layouts: Record<string, Descriptor[]> = {
    read: [HEADER, { ...RESPONSE, flags: 3, next: 2 }, { ...data, flags: 2, next: 0 }],
    'read in pieces': [
      HEADER,
      { ...RESPONSE, flags: 3, next: 2 },
      { ...data, flags: 3, next: 3 },
      { ...data, flags: 2, next: 0 },
    ],
    write: [HEADER, { ...data, flags: 1, next: 2 }, RESPONSE],
    'no data': [HEADER, RESPONSE],
  }
  for (const [name, layout] of Object.entries(layouts)) {
    for (const [i, d] of layout.entries()) {
      write(16 * i, d)
      write(TABLE + 16 * i, d)
    }
    write(16 * 9, { address: GUEST + TABLE, length: 16 * layout.length, flags: DESC_F.INDIRECT, next: 0 })
    for (const head of [0, 9]) {
      const { taken, fast, code, slow } = both(head, true)
      t.equal(taken, true, `${name} at ${head}`)
      t.equal(code, READ.OK)
      t.equal(fast, slow)
    }
    t.equal(both(9, false).taken, false, 'indirect though not negotiated')
  }
  t.equal(both(SIZE, true).taken, false, 'a head outside the ring')
})

t.test('leaves everything to the general way while a window is closed', async (t) => {
  write(0, HEADER)
  write(16, RESPONSE)
  const table = new RequestTable(0, SIZE)
  t.equal(new UsualFraming(new GuestMemory([region]), queue, table, true).read(0, table.take()!), false)
  t.equal(new UsualFraming(new GuestMemory([]), queue, table, true).read(0, table.take()!), false)
  table.release()
})

t.test('property: what is taken is what the general way makes of it', async (t) => {
  const address = fc.oneof(
    fc.nat({ max: BYTES + 200 }).map((n) => GUEST + n),
    fc.constantFrom(0, GUEST - 1, GUEST + BYTES, 2 ** 32, 2 ** 47, 2 ** 60),
  )
  const length = fc.oneof(
    fc.constantFrom(51, 108, 0, 512, 4096, 16, 32, 48, 2 ** 30, 0xffff_ffff),
    fc.nat({ max: 6000 }),
  )
  const descriptor = fc.record({
    address,
    length,
    flags: fc.nat({ max: 7 }),
    next: fc.oneof(fc.nat({ max: SIZE - 1 }), fc.nat({ max: 0xffff })),
  })
  // Chains that are nearly right are what finds faults.
  const nearly = fc
    .tuple(fc.array(descriptor, { minLength: 0, maxLength: 3 }), fc.array(descriptor, { maxLength: 3 }), fc.boolean())
    .map(([out, inn, broken]) => {
      const list = [HEADER, ...out.map((d) => ({ ...d, flags: 1 })), RESPONSE, ...inn.map((d) => ({ ...d, flags: 3 }))]
      return list.map((d, i) => ({
        ...d,
        flags: broken && i === 2 ? d.flags : (d.flags & 2) | (i + 1 < list.length ? 1 : 0),
        next: i + 1,
      }))
    })
  let taken = 0
  fc.assert(
    fc.property(fc.oneof(nearly, fc.array(descriptor, { maxLength: SIZE })), fc.boolean(), (list, indirect) => {
      bytes.fill(0x5a, 0, 16 * SIZE)
      for (const [i, d] of list.slice(0, SIZE).entries()) {
        write(16 * i, d)
        write(TABLE + 16 * i, d)
      }
      if (indirect) write(0, { address: GUEST + TABLE, length: 16 * list.length, flags: DESC_F.INDIRECT, next: 0 })
      const result = both(0, true)
      if (!result.taken) return true
      taken++
      return result.code === READ.OK && result.fast === result.slow
    }),
    { numRuns: 2000 },
  )
  t.ok(taken > 50, `${taken} of 2000 were taken`)
})
