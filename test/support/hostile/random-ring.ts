import { Mapping } from 'memfd-mmap'
import { CMD_REQUEST, CMD_RESPONSE, DESC_F, TMF_REQUEST, VQ } from 'vhost-user-protocol-ts'
import type { Random } from '../random.js'
import type { RegionOptions } from '../vhost/shared-memory.js'
import type { RawDescriptor, RawGuest, RawRing } from './raw-guest.js'

const KIB = 2 ** 10
const { NEXT, WRITE, INDIRECT } = DESC_F

/** Bytes in each file before the region, which nobody has to write to. */
export const CANARY = 64 * KIB

/**
 * Rings and indirect tables; headers, which a good device only reads, and data. The largest region holds headers and most of the data; the
 * last one adjoins it.
 */
export const REGIONS: readonly RegionOptions[] = [
  { guestAddress: 64 * KIB, size: 256 * KIB, mmapOffset: CANARY },
  { guestAddress: 2 ** 32, size: 320 * KIB, mmapOffset: CANARY },
  { guestAddress: 2 ** 32 + 320 * KIB, size: 64 * KIB, mmapOffset: CANARY },
]

interface Range {
  readonly guestAddress: number
  readonly size: number
}

const RINGS: Range = REGIONS[0]!
const HEADERS: Range = { guestAddress: 2 ** 32, size: 64 * KIB }
const DATA: Range = { guestAddress: 2 ** 32 + 64 * KIB, size: 320 * KIB }
/** What makes up the rings and requests: a device that writes there changes what it reads. */
export const READ_ONLY: readonly Range[] = [RINGS, HEADERS]

const TABLES = RINGS.guestAddress + 128 * KIB
const TABLE_SLOTS = 64
const TABLE_BYTES = 512
/** Where the indirect tables are. */
export const TABLES_RANGE = { address: TABLES, length: TABLE_SLOTS * TABLE_BYTES }
const HEADER_SLOTS = 256
const HEADER_BYTES = 64

/** Opcodes that a disk knows, and some that it does not. */
const OPCODES = [
  0x00, 0x03, 0x12, 0x15, 0x1a, 0x1b, 0x25, 0x28, 0x2a, 0x2e, 0x2f, 0x35, 0x41, 0x42, 0x55, 0x5a, 0x5e, 0x5f, 0x7f,
  0x83, 0x88, 0x89, 0x8a, 0x8f, 0x91, 0x93, 0x9e, 0xa0, 0xa3, 0xc0,
]

/** The bytes of each file before its region: nobody has to write there. */
export class Canaries {
  readonly #views: readonly Uint8Array[]

  constructor(regions: readonly { readonly fd: number }[]) {
    this.#views = regions.map(({ fd }) => new Uint8Array(Mapping.map({ fd, length: CANARY }).view()))
    for (const view of this.#views) view.fill(0xc5)
  }

  get alive(): boolean {
    return this.#views.every((view) => view.every((byte) => byte === 0xc5))
  }
}

/** A ring as the guest has made it. */
export interface RandomRing {
  readonly index: number
  /** Next available index, used index to begin with, and the available index that is shown. */
  readonly base: number
  readonly usedIndex: number
  readonly available: number
  /** What is entered from `base` on. */
  readonly heads: readonly number[]
}

function randomAddress(random: Random, writable: boolean): number | bigint {
  const within = ({ guestAddress, size }: Range): number => guestAddress + random.below(size)
  switch (random.below(20)) {
    case 0:
      return within(RINGS)
    case 1:
      return writable ? within(DATA) : within(HEADERS)
    case 2:
      return DATA.guestAddress + DATA.size - random.below(200)
    case 3:
      return RINGS.guestAddress + RINGS.size + random.below(4096)
    case 4:
      return BigInt(random.next()) * 2n ** 32n + BigInt(random.next())
    case 5:
      return writable ? within(DATA) : DATA.guestAddress - random.below(HEADER_BYTES)
    default:
      return writable ? within(DATA) : HEADERS.guestAddress + HEADER_BYTES * random.below(HEADER_SLOTS)
  }
}

function randomLength(random: Random, writable: boolean): number {
  switch (random.below(12)) {
    case 0:
      return 0
    case 1:
      return random.below(16)
    case 2:
      return random.below(8192)
    case 3:
      return random.next()
    case 4:
      return 512 * random.below(16)
    default:
      return writable ? CMD_RESPONSE.SIZE : random.pick([CMD_REQUEST.SIZE, CMD_REQUEST.SIZE, TMF_REQUEST.SIZE])
  }
}

/** A descriptor among `entries`, mostly followed by the next one. */
function randomDescriptor(random: Random, at: number, entries: number, indirect: boolean): RawDescriptor {
  const next = random.once(40) ? random.next() & 0xffff : random.once(12) ? random.below(entries) : at + 1
  if (indirect && random.once(4)) {
    const length = random.once(8) ? random.below(600) : 16 * (1 + random.below(TABLE_BYTES / 16))
    const address = random.once(12) ? randomAddress(random, false) : TABLES + TABLE_BYTES * random.below(TABLE_SLOTS)
    return { address, length, flags: INDIRECT | (random.once(12) ? random.below(8) : 0), next }
  }
  // Readable buffers first: the lower half of a table mostly has these.
  const writable = random.once(6) ? random.once(2) : at % 4 >= 2
  const flags =
    (writable ? WRITE : 0) |
    (random.once(4) || at % 4 === 3 ? 0 : NEXT) |
    (random.once(60) ? random.next() & 0xfff8 : 0)
  return { address: randomAddress(random, writable), length: randomLength(random, writable), flags, next }
}

function writeHeaders(guest: RawGuest, random: Random): void {
  const bytes = guest.memory.bytes(HEADERS.guestAddress, HEADER_BYTES * HEADER_SLOTS)
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  for (let slot = 0; slot < HEADER_SLOTS; slot++) {
    const at = HEADER_BYTES * slot
    random.fill(bytes.subarray(at, at + HEADER_BYTES))
    if (random.once(10)) continue
    bytes.set(
      [1, random.once(8) ? random.below(256) : 1, random.once(8) ? random.below(256) : 0x40, random.below(4)],
      at,
    )
    bytes[at + CMD_REQUEST.CDB] = random.once(10) ? random.below(256) : random.pick(OPCODES)
    // Small addresses and lengths, so that many commands are within the medium.
    view.setUint32(at + CMD_REQUEST.CDB + 2, random.below(64))
    view.setUint16(at + CMD_REQUEST.CDB + 6, random.below(4))
    view.setUint32(at + CMD_REQUEST.CDB + 8, random.below(16))
    if (random.once(2)) bytes[at + CMD_REQUEST.CDB + 1] = 0
    // The same bytes as a control request: a task management function, mostly.
    if (random.once(4)) {
      view.setUint32(at, random.once(6) ? random.below(4) : 0, true)
      view.setUint32(at + 4, random.below(10), true)
      bytes.set([1, random.below(3), 0x40, random.below(4)], at + 8)
    }
  }
}

/**
 * Chains of four descriptors at most that read, write or do neither, on one of the LUNs; a few are spoilt. So that there is I/O in flight
 * when something else is wrong.
 */
function writeGoodChains(guest: RawGuest, ring: RawRing, random: Random): void {
  for (let at = 0; at < ring.size; at += 4) {
    const blocks = 1 + random.below(8)
    const opcode = random.pick([0x28, 0x2a, 0x00, 0x28, 0x2a, 0x35])
    const address = HEADERS.guestAddress + HEADER_BYTES * at
    const bytes = guest.memory.bytes(address, HEADER_BYTES).fill(0)
    bytes.set([1, 1, 0x40, random.below(3)])
    bytes.set([opcode, 0, 0, 0, random.below(4), random.below(256), 0, 0, blocks], CMD_REQUEST.CDB)
    const data = (flags: number): RawDescriptor => ({
      address: DATA.guestAddress + random.below(DATA.size - 4096),
      length: 512 * blocks,
      flags,
    })
    const chain: RawDescriptor[] = [
      { address, length: CMD_REQUEST.SIZE },
      ...(opcode === 0x2a ? [data(0)] : []),
      { address: DATA.guestAddress + random.below(DATA.size - 200), length: CMD_RESPONSE.SIZE, flags: WRITE },
      ...(opcode === 0x28 ? [data(WRITE)] : []),
    ]
    chain.forEach((descriptor, i) => {
      const flags = (descriptor.flags ?? 0) | (i < chain.length - 1 ? NEXT : 0)
      if (!random.once(60)) ring.describe(at + i, { ...descriptor, flags, next: at + i + 1 })
    })
  }
}

/** Fills a stopped ring, the tables and the headers at random. */
export function randomRing(guest: RawGuest, random: Random): { ring: RawRing; plan: RandomRing } {
  const index = random.pick([VQ.REQUEST, VQ.REQUEST, VQ.REQUEST, VQ.REQUEST + 1, VQ.CONTROL, VQ.CONTROL, VQ.EVENT])
  const ring = guest.ring(index)
  ring.clear()
  writeHeaders(guest, random)
  const noise = random.once(10)
  for (let i = 0; i < ring.size; i++) {
    if (noise) ring.describe(i, rawNoise(random))
    else ring.describe(i, randomDescriptor(random, i, ring.size, true))
  }
  for (let slot = 0; slot < TABLE_SLOTS; slot++) {
    const entries = TABLE_BYTES / 16
    guest.writeTable(
      TABLES + TABLE_BYTES * slot,
      Array.from({ length: entries }, (_, i) =>
        noise ? rawNoise(random) : randomDescriptor(random, i, entries, random.once(20)),
      ),
    )
  }
  if (!noise && random.once(3)) writeGoodChains(guest, ring, random)
  const base = random.pick([0, random.below(65536), 65530])
  const count = random.once(30)
    ? random.next() & 0xffff
    : random.once(4)
      ? random.below(ring.size + 1)
      : random.below(8)
  const heads = Array.from({ length: Math.min(count, ring.size) }, () =>
    random.once(40) ? random.next() & 0xffff : 4 * random.below(ring.size / 4),
  )
  const usedIndex = random.once(2) ? base : random.below(65536)
  ring.enter(base, heads)
  ring.availableIndex = base
  ring.usedIndex = usedIndex
  ring.setInterrupts(random.below(3), random.next() & 0xffff)
  return { ring, plan: { index, base, usedIndex, available: (base + count) & 0xffff, heads } }
}

/** Aims some of the ring's buffers at the ring itself: what the device writes there, it reads next. */
export function aimAtItself(guest: RawGuest, ring: RawRing, random: Random): void {
  for (let at = 0; at < ring.size; at++) {
    if (!random.once(5)) continue
    const area = random.pick([ring.desc, ring.avail, ring.used])
    const address = area.address - random.below(64) + random.below(area.length)
    const flags = WRITE | (random.once(3) ? 0 : NEXT)
    ring.describe(at, {
      address,
      length: random.pick([CMD_RESPONSE.SIZE, 512, 4096, random.below(300)]),
      flags,
      next: at + 1,
    })
  }
  // What is read from the disks comes out of what was written to them: rings.
  guest.memory
    .bytes(DATA.guestAddress, 4096)
    .set(guest.memory.bytes(ring.desc.address, Math.min(4096, ring.desc.length)))
}

function rawNoise(random: Random): RawDescriptor {
  const address = BigInt(random.next()) * 2n ** 32n + BigInt(random.next())
  return { address, length: random.next(), flags: random.next() & 0xffff, next: random.next() & 0xffff }
}
