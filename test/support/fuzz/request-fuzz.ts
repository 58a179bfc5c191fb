import { AN_REQUEST, CMD_REQUEST, CMD_RESPONSE, EVENT, TMF_REQUEST, VQ } from 'vhost-user-protocol-ts'
import type { Random } from '../random.js'
import { DATA_BYTES, FAR_PARTS, HEADER_BYTES, HEADERS_PER_RING, PLACE } from './fuzz-memory.js'
import { LENGTHS, writeCdb } from './scsi-fuzz.js'

/** Buffers of one request, in the order of their chain: guest addresses as two words of 32 bits, lengths, and 1 for writable. */
export class Pieces {
  count = 0
  readonly low = new Uint32Array(64)
  readonly high = new Uint32Array(64)
  readonly length = new Uint32Array(64)
  readonly writable = new Uint8Array(64)

  add(address: number, length: number, writable: boolean): void {
    const i = this.count++
    this.low[i] = address >>> 0
    this.high[i] = Math.floor(address / 2 ** 32)
    this.length[i] = length
    this.writable[i] = writable ? 1 : 0
  }

  address(i: number): number {
    return this.high[i]! * 2 ** 32 + this.low[i]!
  }
}

/** One target that there is, and one that there is not. The disk that an honest connection wants to find writable is at target 0. */
const TARGETS = [1, 1, 1, 1, 2]
const LUNS = 6

/** Somewhere in memory that requests may write to, with room for `length` bytes. */
function dataAddress(random: Random, length: number, far: boolean): number {
  const kind = random.below(far ? 8 : 6)
  if (kind < 5) return PLACE.DATA + random.below(DATA_BYTES - length)
  if (kind === 5) {
    // Over the border of two regions, or just not.
    const at = PLACE.MORE_DATA - random.below(length + 2)
    return Math.min(at, PLACE.DATA + DATA_BYTES - length)
  }
  const { address, length: room } = random.pick(FAR_PARTS)
  return address + random.below(Math.max(1, room - length))
}

const MAX_DATA = 32 * 1024

function addData(random: Random, pieces: Pieces, length: number, writable: boolean, far: boolean): void {
  let left = Math.min(length, MAX_DATA)
  const cuts = random.once(3) ? random.below(6) : 0
  for (let i = 0; i < cuts && left > 0; i++) {
    const part = random.once(4) ? random.below(4) : random.below(left + 1)
    pieces.add(dataAddress(random, part, far), part, writable)
    left -= part
  }
  if (left > 0 || random.once(50)) pieces.add(dataAddress(random, left, far), left, writable)
}

/** A buffer in one piece, or now and then in two. */
function addCut(random: Random, pieces: Pieces, address: number, length: number, writable: boolean): void {
  const cut = random.once(16) ? random.below(length + 1) : length
  pieces.add(address, cut, writable)
  if (cut < length) pieces.add(address + cut, length - cut, writable)
}

/** Makes up requests of all three kinds of queues: their headers in memory, and the buffers of their chains. */
export class RequestFuzz {
  readonly pieces = new Pieces()
  readonly #far: boolean
  readonly #bytes: Uint8Array
  readonly #view: DataView
  readonly #transfer = { in: 0, out: 0 }

  /** @param rings memory from PLACE.RINGS on @param far whether there is the far region, of which it costs milliseconds to have a view */
  constructor(rings: Uint8Array, far: boolean) {
    this.#far = far
    this.#bytes = rings
    this.#view = new DataView(rings.buffer, rings.byteOffset, rings.length)
  }

  /** Request number `slot` of a ring. All of its buffers are memory, and in the right order. */
  make(random: Random, ring: number, slot: number): Pieces {
    const { pieces } = this
    pieces.count = 0
    const header = PLACE.HEADERS + HEADER_BYTES * (HEADERS_PER_RING * ring + (slot % HEADERS_PER_RING))
    const at = header - PLACE.RINGS
    if (ring === VQ.EVENT) {
      pieces.add(dataAddress(random, EVENT.SIZE, this.#far), random.once(4) ? random.below(64) : EVENT.SIZE, true)
    } else if (ring === VQ.CONTROL) {
      this.#control(random, at, header)
    } else {
      this.#command(random, at, header, slot)
    }
    return pieces
  }

  #lun(random: Random, at: number): void {
    const bytes = this.#bytes
    bytes.fill(0, at, at + 8)
    bytes[at] = 1
    bytes[at + 1] = random.pick(TARGETS)
    bytes[at + 2] = random.once(4) ? 0 : 0x40
    bytes[at + 3] = random.below(LUNS)
    if (random.once(30)) bytes[at + random.below(8)] = random.below(256)
    if (random.once(60)) bytes.set([0xc1, 0x01, 0, 0], at)
  }

  #command(random: Random, at: number, header: number, slot: number): void {
    const { pieces } = this
    const bytes = this.#bytes
    this.#lun(random, at)
    this.#view.setUint32(at + CMD_REQUEST.TAG, random.once(8) ? random.next() : slot, true)
    this.#view.setUint32(at + CMD_REQUEST.TAG + 4, random.once(8) ? random.next() : 0, true)
    bytes[at + CMD_REQUEST.TASK_ATTR] = random.once(4) ? random.below(6) : 0
    bytes[at + CMD_REQUEST.PRIO] = 0
    bytes[at + CMD_REQUEST.CRN] = 0
    writeCdb(random, bytes, at + CMD_REQUEST.CDB, this.#transfer)
    addCut(random, pieces, header, CMD_REQUEST.SIZE, false)
    if (this.#transfer.out > 0) addData(random, pieces, this.#transfer.out, false, this.#far)
    addCut(random, pieces, dataAddress(random, CMD_RESPONSE.SIZE, this.#far), CMD_RESPONSE.SIZE, true)
    if (this.#transfer.in > 0) addData(random, pieces, this.#transfer.in, true, this.#far)
  }

  #control(random: Random, at: number, header: number): void {
    const type = random.once(12) ? random.next() : random.once(4) ? 1 + random.below(2) : 0
    this.#view.setUint32(at, type, true)
    if (type === 0) {
      this.#view.setUint32(at + TMF_REQUEST.SUBTYPE, random.below(random.once(8) ? 100 : 8), true)
      this.#lun(random, at + TMF_REQUEST.LUN)
      this.#view.setUint32(at + TMF_REQUEST.TAG, random.below(64), true)
      this.#view.setUint32(at + TMF_REQUEST.TAG + 4, 0, true)
    } else {
      this.#lun(random, at + AN_REQUEST.LUN)
      this.#view.setUint32(at + AN_REQUEST.EVENT_REQUESTED, random.next(), true)
    }
    const size = random.once(20) ? random.below(64) : type === 0 ? TMF_REQUEST.SIZE : AN_REQUEST.SIZE
    addCut(random, this.pieces, header, size, false)
    const room = random.once(20) ? random.pick(LENGTHS) : type === 0 ? 1 : 5
    this.pieces.add(dataAddress(random, room, this.#far), room, true)
  }
}
