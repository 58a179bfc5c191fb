import { createMemfd, F_SEAL_GROW, F_SEAL_SEAL, F_SEAL_SHRINK, Mapping, raw } from 'memfd-mmap'
import type { MemoryRegion } from 'vhost-user-protocol-ts'

const KIB = 2 ** 10

/** Bytes of each file before and behind its region that nobody has to write to; and what they are filled with. */
export const CANARY = 64 * KIB
const CANARY_BYTE = 0xc5

/** Rings that there is room for, and the most descriptors of one. */
export const MAX_RINGS = 6
export const MAX_RING_SIZE = 256

/** An indirect table, its place in bytes; so many for each ring. And a request's header. */
export const TABLE_BYTES = 320
export const TABLES_PER_RING = 256
export const HEADER_BYTES = 64
export const HEADERS_PER_RING = 256

/** Guest addresses. What a device only reads comes first, then what it may write. */
export const PLACE = {
  /** 4 KiB for each ring: the available ring, and 1 KiB into it the used ring. */
  RINGS: 64 * KIB,
  USED: KIB,
  /** 4 KiB for each ring. */
  DESCRIPTORS: 96 * KIB,
  TABLES: 128 * KIB,
  HEADERS: 608 * KIB,
  /** Room for a long indirect table. */
  LONG_TABLE: 704 * KIB,
  LONG_TABLE_END: 864 * KIB,
  DATA: 2 ** 32,
  /** Adjoins. */
  MORE_DATA: 2 ** 32 + 256 * KIB,
  /** Larger than a window of GuestMemory. */
  FAR: 2 ** 36,
} as const

export const DATA_BYTES = 320 * KIB
const FAR_BYTES = 2 ** 30 + 2 ** 28
/** Where one window of GuestMemory ends and the next begins, and the overlap ends. */
const FAR_BORDERS = [0, 2 ** 29, 2 ** 29 + 2 ** 20, 2 ** 30, FAR_BYTES - 64 * KIB]
/** Bytes on either side of such a border that requests use. */
const FAR_REACH = 32 * KIB

/** Parts of the far region that requests use: [guest address, bytes]. */
export const FAR_PARTS = FAR_BORDERS.map((border) => {
  const from = Math.max(0, border - FAR_REACH)
  return { address: PLACE.FAR + from, length: Math.min(FAR_BYTES, border + FAR_REACH) - from }
})

/** What the front end's own address of guest memory is. */
const USER = 2 ** 44
export const userAddress = (address: number): number => USER + address

interface FuzzRegion extends MemoryRegion {
  readonly fd: number
}

/** A piece of guest memory that is compared with how it was. */
interface Watched {
  readonly address: number
  readonly bytes: Uint8Array
  readonly before: Uint8Array
}

/** Guest memory for rings that nobody has to be able to make sense of, with canaries around it. */
export class FuzzMemory {
  readonly regions: readonly FuzzRegion[]
  /** From PLACE.RINGS on. */
  readonly rings: Uint8Array
  readonly ringsView: DataView
  /** From PLACE.DATA on. */
  readonly data: Uint8Array
  readonly #canaries: readonly Uint8Array[]
  readonly #watched: Watched[] = []
  readonly #canary = Buffer.alloc(CANARY, CANARY_BYTE)
  readonly #mappings: Mapping[] = []

  constructor() {
    const region = (guestAddress: number, size: number): FuzzRegion => {
      const seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL
      const fd = createMemfd('fuzzed-ram', size + 2 * CANARY, seals)
      return { guestAddress, size, userAddress: userAddress(guestAddress), mmapOffset: CANARY, fd }
    }
    this.regions = [
      region(PLACE.RINGS, PLACE.LONG_TABLE_END - PLACE.RINGS),
      region(PLACE.DATA, PLACE.MORE_DATA - PLACE.DATA),
      region(PLACE.MORE_DATA, PLACE.DATA + DATA_BYTES - PLACE.MORE_DATA),
      region(PLACE.FAR, FAR_BYTES),
    ]
    const [rings, data, more, far] = this.regions
    this.rings = this.#map(rings!.fd, CANARY, rings!.size)
    this.ringsView = new DataView(this.rings.buffer, this.rings.byteOffset, this.rings.length)
    this.#watch(PLACE.RINGS, this.rings)
    this.data = this.#map(data!.fd, CANARY, data!.size)
    this.#watch(PLACE.DATA, this.data)
    this.#watch(PLACE.MORE_DATA, this.#map(more!.fd, CANARY, more!.size))
    for (const { address, length } of FAR_PARTS) {
      this.#watch(address, this.#map(far!.fd, CANARY + address - PLACE.FAR, length))
    }
    this.#canaries = this.regions.flatMap(({ fd, size }) => [
      this.#map(fd, 0, CANARY),
      this.#map(fd, CANARY + size, CANARY),
    ])
    this.renewCanaries()
  }

  renewCanaries(): void {
    for (const bytes of this.#canaries) bytes.fill(CANARY_BYTE)
  }

  #map(fd: number, offset: number, length: number): Uint8Array {
    const mapping = Mapping.map({ fd, offset, length })
    this.#mappings.push(mapping)
    return new Uint8Array(mapping.view())
  }

  #watch(address: number, bytes: Uint8Array): void {
    this.#watched.push({ address, bytes, before: new Uint8Array(bytes.length) })
  }

  /** Nobody has written before or behind the regions. */
  get canariesLive(): boolean {
    return this.#canaries.every((bytes) => Buffer.compare(bytes, this.#canary) === 0)
  }

  /** Remembers all that requests use. */
  remember(): void {
    for (const { bytes, before } of this.#watched) before.set(bytes)
  }

  /**
   * Where something has changed since `remember` that lies in none of `writable`; undefined: nowhere.
   *
   * @param writable guest addresses and lengths, one after the other
   */
  stray(writable: readonly number[]): string | undefined {
    for (const watched of this.#watched) {
      // A device that has given everything back may still say when it wants to be notified, even now.
      const found = strayIn(watched, writable) && strayIn(watched, writable)
      if (found !== undefined) return found
    }
    return undefined
  }

  close(): void {
    for (const { fd } of this.regions) raw.close(fd)
    for (const mapping of this.#mappings) mapping.retire()
  }
}

function strayIn({ address, bytes, before }: Watched, writable: readonly number[]): string | undefined {
  for (let i = 0; i < writable.length; i += 2) {
    const from = Math.max(0, writable[i]! - address)
    const to = Math.min(bytes.length, writable[i]! + writable[i + 1]! - address)
    if (to > from) before.set(bytes.subarray(from, to), from)
  }
  if (Buffer.compare(bytes, before) === 0) return undefined
  const at = bytes.findIndex((byte, i) => byte !== before[i])
  return `0x${(address + at).toString(16)}: ${before[at]} has become ${bytes[at]}`
}
