import assert from 'node:assert/strict'
import fc from 'fast-check'
import { Mapping, memcpy, raw } from 'memfd-mmap'
import t from 'tap'
import { CHAIN, type ChainSegment, CMD_REQUEST, CMD_RESPONSE, WLUN_REPORT_LUNS } from 'vhost-user-protocol-ts'
import type { Request } from '../../iothreads/request.js'
import { TARGET_NONE } from '../../iothreads/request-header.js'
import { READ, RequestReader } from '../../iothreads/request-reader.js'
import { MAX_SEGMENTS } from '../../iothreads/request-table.js'
import { ResponseWriter } from '../../iothreads/response-writer.js'
import { QueueRig, type QueueRigOptions } from '../support/iothreads/queue-rig.js'
import { rounds } from '../support/iothreads/rounds.js'
import type { Teardown } from '../support/teardown.js'

const MIB = 2 ** 20
/** Two regions that follow each other for the guest, and nowhere else. */
const BORDER = 0x20_0000
const REGIONS = [
  { guestAddress: BORDER - MIB, size: MIB },
  { guestAddress: BORDER, size: MIB },
  { guestAddress: 2 ** 33, size: MIB },
]

function setUp(t: Teardown, o: Partial<QueueRigOptions> = {}) {
  const rig = new QueueRig(t, { units: [], size: 256, indirectEntries: 64, regions: REGIONS, ...o })
  const reader = new RequestReader(rig.guest, rig.queue.virtqueue, rig.table, true)
  const writer = new ResponseWriter(rig.guest)
  const request = rig.table.take()!
  const write = (address: number, bytes: ArrayLike<number>): void => {
    for (let i = 0; i < bytes.length; i++) rig.memory.bytes(address + i, 1)[0] = bytes[i]!
  }
  const read = (address: number, length: number): number[] =>
    Array.from({ length }, (_, i) => rig.memory.bytes(address + i, 1)[0]!)
  return { rig, reader, writer, request, write, read }
}

/** What the data segments of a request hold, by their host addresses. */
function gather(rig: QueueRig, request: Request, from: number, count: number): number[] {
  const copy = Mapping.anonymous(65536)
  const bytes = new Uint8Array(copy.view())
  let length = 0
  for (let i = from; i < from + count; i++) {
    const at = request.firstSegment + 2 * i
    memcpy(copy.address + length, rig.table.segments[at]!, rig.table.segments[at + 1]!)
    length += rig.table.segments[at + 1]!
  }
  const result = [...bytes.subarray(0, length)]
  copy.unmap()
  return result
}

function header(fields: { lun?: number[]; tag?: bigint; cdb?: number[] } = {}): number[] {
  const bytes = new Uint8Array(CMD_REQUEST.SIZE)
  bytes.set(fields.lun ?? [1, 0, 0x40, 0])
  new DataView(bytes.buffer).setBigUint64(CMD_REQUEST.TAG, fields.tag ?? 0n, true)
  bytes.set(fields.cdb ?? [], CMD_REQUEST.CDB)
  return [...bytes]
}

t.test('fields of the header', async (t) => {
  const { rig, reader, request, write } = setUp(t)
  const at = 2 ** 33
  const chain: ChainSegment[] = [
    { address: at, length: CMD_REQUEST.SIZE, writable: false },
    { address: at + 512, length: CMD_RESPONSE.SIZE, writable: true },
  ]
  const read = (fields: Parameters<typeof header>[0]): Request => {
    write(at, header(fields))
    t.equal(rig.read(reader, request, chain), READ.OK)
    return request
  }
  const cases: [number[], number, number][] = [
    [[1, 0, 0x40, 0], 0, 0],
    [[1, 7, 0x40, 9], 7, 9],
    [[1, 255, 0x7f, 0xff], 255, 16383],
    [[1, 7, 0, 200], 7, 200],
    [[0xc1, 1, 0, 0], TARGET_NONE, WLUN_REPORT_LUNS],
    [[0xc1, 2, 0, 0], TARGET_NONE, -1],
    [[1, 7, 0x80, 0], TARGET_NONE, -1],
    [[1, 7, 0xc0, 0], TARGET_NONE, -1],
    [[0, 7, 0x40, 0], TARGET_NONE, -1],
  ]
  for (const [lun, target, number] of cases) t.match(read({ lun }), { target, lun: number }, `${lun}`)
  t.match(read({ tag: 0xffffffff_80000001n }), { tagLow: -0x7fffffff, tagHigh: -1 })
  t.match(read({ tag: 5n }), { tagLow: 5, tagHigh: 0 })
  const short = Array.from({ length: 16 }, (_, i) => i + 1)
  t.strictSame([...read({ cdb: short }).task.cdbBytes.subarray(0, 16)], short)
  const long = [0x7f, ...Array.from({ length: 31 }, (_, i) => 255 - i)]
  t.strictSame([...read({ cdb: long }).task.cdbBytes], long)
  t.match(request, { outSegments: 0, inSegments: 0, outLength: 0, inLength: 0 })
})

t.test('property: any framing is the same request', async (t) => {
  const { rig, reader, writer, request, write, read } = setUp(t)
  const layout = fc.record({
    data: fc.uint8Array({ maxLength: 700 }),
    isWrite: fc.boolean(),
    outCuts: fc.array(fc.oneof(fc.nat(60), fc.nat(400)), { maxLength: 12 }),
    inCuts: fc.array(fc.oneof(fc.nat(120), fc.nat(400)), { maxLength: 12 }),
    gaps: fc.array(fc.nat(40), { minLength: 1, maxLength: 5 }),
    // Some lie across the border.
    start: fc.constantFrom(BORDER - 5000, BORDER - 200, BORDER - 51, BORDER - 1, BORDER, 2 ** 33 + 1),
    style: fc.constantFrom('direct' as const, 'indirect' as const, 'mixed' as const),
    tag: fc.bigInt(0n, 2n ** 64n - 1n),
  })
  fc.assert(
    fc.property(layout, ({ data, isWrite, outCuts, inCuts, gaps, start, style, tag }) => {
      const cdb = [0x28, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]
      const readable = [...header({ lun: [1, 3, 0x41, 2], tag, cdb }), ...(isWrite ? data : [])]
      const writable = CMD_RESPONSE.SIZE + (isWrite ? 0 : data.length)
      const segments: ChainSegment[] = []
      let address = start
      const place = (length: number, cuts: readonly number[], isWritable: boolean): void => {
        for (let i = 0, done = 0; done < length || i < cuts.length; i++) {
          const part = Math.min(cuts[i] ?? length, length - done)
          address += gaps[segments.length % gaps.length]!
          segments.push({ address, length: part, writable: isWritable })
          address += part
          done += part
        }
      }
      place(readable.length, outCuts, false)
      const readableCount = segments.length
      place(writable, inCuts, true)
      let done = 0
      for (const { address, length } of segments.slice(0, readableCount)) {
        write(address, readable.slice(done, done + length))
        done += length
      }
      assert.equal(rig.read(reader, request, segments, style), READ.OK)
      t.match(request, { target: 3, lun: 0x102 })
      assert.equal(
        BigInt.asUintN(32, BigInt(request.tagLow)) | (BigInt.asUintN(32, BigInt(request.tagHigh)) << 32n),
        tag,
      )
      assert.deepEqual([...request.task.cdbBytes.subarray(0, 16)], cdb)
      assert.equal(request.outLength, isWrite ? data.length : 0)
      assert.equal(request.inLength, isWrite ? 0 : data.length)
      // What is written through the segments and as a response lies where the chain's writable bytes are.
      const { outSegments, inSegments } = request
      assert.deepEqual(gather(rig, request, 0, outSegments), isWrite ? [...data] : [])
      const source = Mapping.anonymous(4096)
      new Uint8Array(source.view()).set(data)
      let given = 0
      for (let i = outSegments; i < outSegments + inSegments; i++) {
        const at = request.firstSegment + 2 * i
        memcpy(rig.table.segments[at]!, source.address + given, rig.table.segments[at + 1]!)
        given += rig.table.segments[at + 1]!
      }
      source.unmap()
      request.task.fail(0x052400)
      writer.write(request, 9, 2, request.task.senseLength, 0x01020304)
      const bytes = segments.slice(readableCount).flatMap(({ address, length }) => read(address, length))
      const response = new DataView(Uint8Array.from(bytes).buffer)
      assert.equal(response.getUint32(CMD_RESPONSE.SENSE_LEN, true), 18)
      assert.equal(response.getUint32(CMD_RESPONSE.RESIDUAL, true), 0x01020304)
      assert.equal(response.getUint16(CMD_RESPONSE.STATUS_QUALIFIER, true), 0)
      assert.equal(response.getUint8(CMD_RESPONSE.STATUS), 2)
      assert.equal(response.getUint8(CMD_RESPONSE.RESPONSE), 9)
      assert.deepEqual(bytes.slice(12, 30), [...request.task.sense.subarray(0, 18)])
      assert.ok(bytes.slice(30, 108).every((byte) => byte === 0))
      assert.deepEqual(bytes.slice(108), isWrite ? [] : [...data])
    }),
    { numRuns: rounds(100) },
  )
})

t.test('as many segments as a request may have, and one more', async (t) => {
  const { rig, reader, request } = setUp(t, { size: 8, indirectEntries: MAX_SEGMENTS + 8 })
  const at = 2 ** 33
  const chain = (count: number, writable: boolean): ChainSegment[] => {
    const data = Array.from({ length: count }, (_, i) => ({ address: at + 1024 + i, length: 1, writable }))
    const head = { address: at, length: CMD_REQUEST.SIZE, writable: false }
    const response = { address: at + 512, length: CMD_RESPONSE.SIZE, writable: true }
    return writable ? [head, response, ...data] : [head, ...data, response]
  }
  for (const writable of [false, true]) {
    t.equal(rig.read(reader, request, chain(MAX_SEGMENTS, writable), 'indirect'), READ.OK)
    t.equal(request.outSegments + request.inSegments, MAX_SEGMENTS)
    t.equal(request.outLength + request.inLength, MAX_SEGMENTS)
    const tooMany = rig.read(reader, request, chain(MAX_SEGMENTS + 1, writable), 'indirect')
    t.equal(tooMany, READ.TOO_MANY_SEGMENTS)
    t.ok(request.responseWindow >= 0, 'there is a response to write')
  }
  // A buffer across the border of regions is two segments.
  const split = [...chain(MAX_SEGMENTS - 1, true), { address: BORDER - 1, length: 2, writable: true }]
  t.equal(rig.read(reader, request, split, 'indirect'), READ.TOO_MANY_SEGMENTS)
})

t.test('lengths', async (t) => {
  const GIB = 2 ** 30
  const { rig, reader, request } = setUp(t, { regions: [{ guestAddress: 0, size: GIB + 2 * MIB }] })
  const at = GIB + MIB
  const head = { address: at, length: CMD_REQUEST.SIZE, writable: false }
  const response = { address: at + 512, length: CMD_RESPONSE.SIZE, writable: true }
  const outcome = (lengths: number[], writable: boolean): number => {
    const data = lengths.map((length) => ({ address: 0, length, writable }))
    const chain = writable ? [head, response, ...data] : [head, ...data, response]
    return rig.read(reader, request, chain, 'indirect')
  }
  for (const writable of [true, false]) {
    t.equal(outcome([GIB], writable), READ.OK)
    t.equal(request.outLength + request.inLength, GIB)
    t.equal(outcome([GIB - 1, 1], writable), READ.OK)
    t.equal(outcome([GIB + 1], writable), READ.TOO_LONG)
    t.equal(outcome([GIB - 1, 2], writable), READ.TOO_LONG)
    t.equal(outcome([0x80000000], writable), READ.TOO_LONG)
    t.equal(outcome([0xffffffff], writable), READ.TOO_LONG)
    t.equal(outcome([512, 0xffffffff, 0xffffffff], writable), READ.TOO_LONG)
    t.equal(outcome([0, 0, 5, 0], writable), READ.OK)
    t.equal(request.outSegments + request.inSegments, 1, 'empty buffers are none')
  }
})

t.test('addresses that are not memory', async (t) => {
  const { rig, reader, request } = setUp(t)
  const at = 2 ** 33
  const end = 2 ** 33 + MIB
  const head = { address: at, length: CMD_REQUEST.SIZE, writable: false }
  const response = { address: at + 512, length: CMD_RESPONSE.SIZE, writable: true }
  const outcome = (chain: ChainSegment[]): number => rig.read(reader, request, chain)
  const readable = (address: number, length: number): ChainSegment => ({ address, length, writable: false })
  const writable = (address: number, length: number): ChainSegment => ({ address, length, writable: true })
  for (const bad of [0, BORDER + MIB, end, 2 ** 51, end - 50]) {
    t.equal(outcome([readable(bad, 51), response]), READ.HEADER_ADDRESS, `header at ${bad}`)
    t.ok(request.responseWindow >= 0)
    t.equal(outcome([readable(at, 10), readable(bad + 10, 41), response]), READ.HEADER_ADDRESS)
    t.equal(outcome([head, writable(bad, 108)]), READ.RESPONSE_ADDRESS)
    t.equal(request.responseWindow, -1)
    t.equal(request.scatterCount, 0)
    t.equal(outcome([head, writable(at, 50), writable(bad, 58)]), READ.RESPONSE_ADDRESS)
    t.equal(request.scatterCount, 0, 'a part of a response is none')
    t.equal(outcome([head, response, writable(bad, 512)]), READ.DATA_ADDRESS)
    t.equal(outcome([head, readable(bad, 512), response]), READ.DATA_ADDRESS)
    t.ok(request.responseWindow >= 0)
  }
  t.equal(outcome([head, response, writable(end - 512, 512)]), READ.OK)
  t.equal(outcome([head, response, writable(end - 512, 513)]), READ.DATA_ADDRESS)
  t.equal(outcome([readable(0, 51), writable(at, 100), writable(at + 200, 8)]), READ.HEADER_ADDRESS)
  t.equal(request.scatterCount, 2, 'a response in pieces is there whatever else is wrong')
  t.equal(outcome([readable(0, 51), writable(at, 100), writable(0, 8)]), READ.HEADER_ADDRESS, 'the first fault counts')
  t.equal(request.scatterCount, 0)
  t.equal(outcome([head]), READ.RESPONSE_SHORT)
  t.equal(outcome([head, writable(at, 100), writable(at, 7)]), READ.RESPONSE_SHORT)
  t.equal(request.scatterCount, 0)
  t.equal(outcome([readable(at, 50), response]), READ.HEADER_SHORT)
  t.equal(outcome([response]), READ.HEADER_SHORT)
  t.equal(outcome([readable(2 ** 52, 51), response]), CHAIN.ADDRESS_RANGE)
})

t.test('the header is read once: what the driver changes later changes nothing', async (t) => {
  const { rig, reader, request, write } = setUp(t)
  const at = 2 ** 33
  write(at, header({ cdb: [0x2a, 1, 2, 3], tag: 77n }))
  const chain = [
    { address: at, length: 51, writable: false },
    { address: at + 512, length: 108, writable: true },
  ]
  t.equal(rig.read(reader, request, chain), READ.OK)
  write(at, new Array(51).fill(0xff))
  t.strictSame([...request.task.cdbBytes.subarray(0, 4)], [0x2a, 1, 2, 3])
  t.equal(request.tagLow, 77)
})

t.test('the memory under the segments is the memfd itself', async (t) => {
  const { rig, reader, request } = setUp(t)
  const at = 2 ** 33
  const chain = [
    { address: at, length: 51, writable: false },
    { address: at + 512, length: 108, writable: true },
    { address: at + 4096, length: 8, writable: true },
  ]
  rig.read(reader, request, chain)
  const source = Mapping.anonymous(4096)
  t.teardown(() => source.unmap())
  new Uint8Array(source.view()).fill(0x5a)
  t.equal(raw.pwrite(rig.memory.regions[2]!.fd, source.address, 8, 4096), 8)
  t.strictSame(gather(rig, request, 0, 1), new Array(8).fill(0x5a))
})
