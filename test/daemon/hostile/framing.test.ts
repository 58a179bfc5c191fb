import fc from 'fast-check'
import { createMemfd, Mapping, raw } from 'memfd-mmap'
import t from 'tap'
import { CMD_REQUEST, CMD_RESPONSE, VQ } from 'vhost-user-protocol-ts'
import { Bed } from '../../support/hostile/bed.js'
import { RawGuest } from '../../support/hostile/raw-guest.js'
import { type Piece, submitPieces } from '../../support/hostile/raw-request.js'
import { times } from '../../support/long.js'
import { poisonResponse, readResult, type ScsiResult, writeCommand } from '../../support/vhost/scsi-request.js'

t.setTimeout(240_000)

const MIB = 2 ** 20
/** Two files whose regions adjoin in the guest: a buffer may lie in both. */
const BORDER = 8 * MIB
const MEMORY = [
  { guestAddress: 0, size: BORDER },
  { guestAddress: BORDER, size: MIB },
]
const DATA = 4096

const bed = await Bed.start(t, { attacks: 8 })

/** Reads or writes guest memory across the border. */
function copy(guest: RawGuest, address: number, length: number, each: (part: Uint8Array, at: number) => void): void {
  const first = address < BORDER ? Math.min(length, BORDER - address) : length
  if (first > 0) each(guest.memory.bytes(address, first), 0)
  if (first < length) each(guest.memory.bytes(address + first, length - first), first)
}

/** How a stream of bytes is cut into buffers: their lengths (the last one has the rest), and the gaps between them in memory. */
interface Cut {
  readonly lengths: readonly number[]
  readonly gaps: readonly number[]
}

const cut: fc.Arbitrary<Cut> = fc.record({
  lengths: fc.array(fc.oneof(fc.nat(3), fc.nat(60), fc.nat(1500)), { maxLength: 40 }),
  gaps: fc.array(fc.constantFrom(0, 0, 0, 1, 64), { minLength: 41, maxLength: 41 }),
})

/** The buffers of a stream of `total` bytes, from an address on. */
function pieces(total: number, { lengths, gaps }: Cut, writable: boolean, start: number): Piece[] {
  const list: Piece[] = []
  let address = start
  let left = total
  for (const [i, length] of [...lengths, total].entries()) {
    const part = Math.min(length, left)
    list.push({ address, length: part, writable })
    address += part + gaps[i]!
    left -= part
    if (left === 0 && i > 0) break
  }
  return list
}

function put(guest: RawGuest, list: readonly Piece[], bytes: Uint8Array): void {
  let done = 0
  for (const { address, length } of list) {
    const from = done
    copy(guest, address, length, (part, at) => part.set(bytes.subarray(from + at, from + at + part.length)))
    done += length
  }
}

function get(guest: RawGuest, list: readonly Piece[]): Uint8Array {
  const bytes = new Uint8Array(list.reduce((sum, { length }) => sum + length, 0))
  let done = 0
  for (const { address, length } of list) {
    const from = done
    copy(guest, address, length, (part, at) => bytes.set(part, from + at))
    done += length
  }
  return bytes
}

interface Exchange {
  readonly cdb: readonly number[]
  readonly out: Uint8Array
  readonly inLength: number
}

/** Runs a command whose two streams are cut so, and lie so in memory; its answer. */
async function exchange(
  guest: RawGuest,
  e: Exchange,
  read: Cut,
  written: Cut,
  start: number,
  indirect: boolean,
): Promise<ScsiResult> {
  const readable = new Uint8Array(CMD_REQUEST.SIZE + e.out.length)
  writeCommand(readable, { cdb: e.cdb }, 1)
  readable.set(e.out, CMD_REQUEST.SIZE)
  const sources = pieces(readable.length, read, false, start)
  const last = sources.at(-1)!
  const targets = pieces(CMD_RESPONSE.SIZE + e.inLength, written, true, last.address + last.length + 16)
  put(guest, sources, readable)
  const blank = new Uint8Array(CMD_RESPONSE.SIZE + e.inLength)
  poisonResponse(blank)
  put(guest, targets, blank)
  const used = await submitPieces(guest, [...sources, ...targets], indirect)
  const result = get(guest, targets)
  return readResult(result.slice(0, CMD_RESPONSE.SIZE), result.slice(CMD_RESPONSE.SIZE), used)
}

const block = (opcode: number): number[] => [opcode, 0, 0, 0, 0, 0, 0, 0, DATA / 512, 0]

async function connect(t: Parameters<Bed['suffers']>[0]): Promise<RawGuest> {
  const guest = await RawGuest.connect(t, bed.daemon.socketPath, { memory: MEMORY, ringSize: 256, rings: 4 })
  await guest.ring(VQ.REQUEST).start()
  return guest
}

const NO_DATA: Exchange = { cdb: [0, 0, 0, 0, 0, 0], out: new Uint8Array(0), inLength: 0 }
const WHOLE: Cut = { lengths: [], gaps: [0] }
const BYTES: Cut = { lengths: new Array(200).fill(1), gaps: new Array(201).fill(1) }

t.test('requests in odd pieces', async (t) => {
  await bed.suffers(t, 'byte by byte', {}, async (t) => {
    const guest = await connect(t)
    for (const [name, read, written] of [
      ['the header', BYTES, WHOLE],
      ['the response', WHOLE, BYTES],
      ['both', BYTES, BYTES],
    ] as const) {
      for (const indirect of [true, false]) {
        const result = await exchange(guest, NO_DATA, read, written, MIB, indirect)
        t.match(result, { response: 0, usedLength: CMD_RESPONSE.SIZE, residual: 0 }, name)
        t.match(result.status, 0, name)
      }
    }
    await guest.close()
  })
  await bed.suffers(t, 'however they are cut, also over the border of two regions', {}, async (t) => {
    const guest = await connect(t)
    let seed = 0
    await fc.assert(
      fc.asyncProperty(
        cut,
        cut,
        cut,
        cut,
        fc.constantFrom(MIB, BORDER - 5000, BORDER - 4000, BORDER - 60, BORDER - 30, BORDER),
        fc.boolean(),
        async (...[writeOut, writeIn, readOut, readIn, start, indirect]) => {
          seed++
          const data = new Uint8Array(DATA).map((_, i) => i * 11 + seed + (i >> 7))
          const write = { cdb: block(0x2a), out: data, inLength: 0 }
          const written = await exchange(guest, write, writeOut, writeIn, start, indirect)
          same(written, { response: 0, status: 0, residual: 0, usedLength: CMD_RESPONSE.SIZE })
          const read = { cdb: block(0x28), out: new Uint8Array(0), inLength: DATA }
          const result = await exchange(guest, read, readOut, readIn, start, indirect)
          same(result, { response: 0, status: 0, residual: 0, usedLength: CMD_RESPONSE.SIZE + DATA })
          if (Buffer.compare(result.data, data) !== 0) throw new Error('what was read is not what was written')
        },
      ),
      { numRuns: times(150) },
    )
    t.pass('data and responses arrive whole')
    await guest.close()
  })
})

t.test('a region of odd size at odd places', async (t) => {
  await bed.suffers(t, 'is memory as any other', {}, async (t) => {
    const guest = await connect(t)
    // The largest region, and the only one that is odd in all its numbers.
    const region = { guestAddress: 2 ** 36 + 1, size: 12 * MIB + 7, userAddress: 2 ** 40 + 9, mmapOffset: 3 }
    const file = createMemfd('odd', region.size + region.mmapOffset)
    const whole = Mapping.map({ fd: file, length: region.size + region.mmapOffset })
    t.teardown(() => {
      raw.close(file)
      whole.retire()
    })
    await guest.frontEnd.addMemReg(region, file)
    const at = (offset: number, length: number) => new Uint8Array(whole.view(region.mmapOffset + offset, length))
    const piece = (offset: number, length: number, writable: boolean): Piece => {
      return { address: region.guestAddress + offset, length, writable }
    }
    // From the very beginning, and to the very end.
    const places = [0, 5, 4096, region.size - CMD_REQUEST.SIZE - CMD_RESPONSE.SIZE - 512]
    for (const [i, place] of places.entries()) {
      const response = place + CMD_REQUEST.SIZE
      const data = response + CMD_RESPONSE.SIZE
      for (const opcode of [0x2a, 0x28]) {
        const write = opcode === 0x2a
        writeCommand(at(place, CMD_REQUEST.SIZE), { cdb: [opcode, 0, 0, 0, 0, i, 0, 0, 1, 0] }, 1)
        poisonResponse(at(response, CMD_RESPONSE.SIZE))
        at(data, 512).fill(write ? i + 1 : 0)
        const list = [piece(place, CMD_REQUEST.SIZE, false), piece(response, CMD_RESPONSE.SIZE, true)]
        list.splice(write ? 1 : 2, 0, piece(data, 512, !write))
        const used = await submitPieces(guest, list, i % 2 === 0)
        const result = readResult(at(response, CMD_RESPONSE.SIZE).slice(), new Uint8Array(0), used)
        t.match(result, { response: 0, status: 0, residual: 0 }, `opcode ${opcode} at ${place}`)
      }
      t.ok(at(data, 512).every((byte) => byte === i + 1))
    }
    await guest.frontEnd.remMemReg(region)
    await guest.close()
  })
})

function same(result: ScsiResult, expected: Partial<ScsiResult>): void {
  for (const [name, value] of Object.entries(expected)) {
    const actual = result[name as keyof ScsiResult]
    if (actual !== value) throw new Error(`${name} is ${actual}, not ${value}`)
  }
}

t.test('data longer than it need be', async (t) => {
  await bed.suffers(t, 'leaves a residual', {}, async (t) => {
    const guest = await connect(t)
    const more = new Uint8Array(DATA + 1000).map((_, i) => i * 5)
    const write = { cdb: block(0x2a), out: more, inLength: 0 }
    t.match(await exchange(guest, write, WHOLE, WHOLE, MIB, true), { response: 0, residual: 1000, usedLength: 108 })
    const odd = { lengths: [108 + 7, 4000, 200], gaps: [8, 8, 8, 8] }
    const result = await exchange(
      guest,
      { cdb: block(0x28), out: new Uint8Array(0), inLength: DATA + 1000 },
      WHOLE,
      odd,
      MIB,
      true,
    )
    t.match(result, { response: 0, residual: 1000, usedLength: CMD_RESPONSE.SIZE + DATA })
    t.equal(Buffer.compare(result.data.slice(0, DATA), more.slice(0, DATA)), 0)
    t.ok(
      result.data.slice(DATA).every((byte) => byte === 0xee),
      'what is beyond the data was not touched',
    )
    await guest.close()
  })
})
