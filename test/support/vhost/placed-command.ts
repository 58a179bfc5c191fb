import { CMD_REQUEST, CMD_RESPONSE, type DriverAllocation } from 'vhost-user-protocol-ts'
import { within } from '../deadline.js'
import { read10, write10 } from '../iothreads/cdb.js'
import { Random } from '../random.js'
import { bytesOf } from './arena.js'
import type { Initiator } from './initiator.js'
import { poisonResponse, readResult, type ScsiResult, writeCommand } from './scsi-request.js'

const PATIENCE = 30_000
const BLOCK = 512

/** Guest memory, which may go on from one region into the next. */
export interface Range {
  readonly address: number
  readonly length: number
}

/** Writes and reads a disk at target 0 with buffers that lie where a test wants them, one command after the other. */
export class PlacedCommands {
  readonly #initiator: Initiator
  readonly #queue: number
  readonly #lun: number
  readonly #header: DriverAllocation
  readonly #response: DriverAllocation

  constructor(initiator: Initiator, { queue = 0, lun = 0 } = {}) {
    this.#initiator = initiator
    this.#queue = queue
    this.#lun = lun
    this.#header = initiator.memory.allocate(CMD_REQUEST.SIZE)
    this.#response = initiator.memory.allocate(CMD_RESPONSE.SIZE)
  }

  /** READ(10) into, or WRITE(10) from one descriptor, of a number of whole blocks. */
  async run(operation: 'read' | 'write', block: number, { address, length }: Range): Promise<ScsiResult> {
    const writable = operation === 'read'
    const cdb = (writable ? read10 : write10)(block, length / BLOCK)
    writeCommand(bytesOf(this.#header), { cdb, lun: this.#lun }, 1)
    poisonResponse(bytesOf(this.#response))
    const header = { ...this.#header, writable: false }
    const response = { ...this.#response, writable: true }
    const data = { address, length, writable }
    const queue = this.#initiator.request(this.#queue)
    const { done } = queue.add(writable ? [header, response, data] : [header, data, response])
    queue.publish()
    const usedLength = await within(PATIENCE, `${operation} at 0x${address.toString(16)}`, done)
    return readResult(bytesOf(this.#response), new Uint8Array(0), usedLength)
  }

  /** Writes what `seed` makes from one range and reads it to another one. Answers what was wrong; undefined: nothing. */
  async through(seed: number, from: Range, to: Range): Promise<string | undefined> {
    const pattern = new Uint8Array(from.length)
    new Random(seed).fill(pattern)
    this.#put(from, pattern)
    const written = await this.run('write', 0, from)
    if (written.response !== 0 || written.status !== 0) return `write: ${written.response} ${written.status}`
    this.#put(to, new Uint8Array(to.length))
    const read = await this.run('read', 0, to)
    if (read.response !== 0 || read.status !== 0) return `read: ${read.response} ${read.status}`
    return Buffer.compare(this.#get(to), pattern) === 0 ? undefined : `other data at 0x${to.address.toString(16)}`
  }

  #put(range: Range, bytes: Uint8Array): void {
    this.#parts(range, (part, offset) => part.set(bytes.subarray(offset, offset + part.length)))
  }

  #get(range: Range): Uint8Array {
    const bytes = new Uint8Array(range.length)
    this.#parts(range, (part, offset) => bytes.set(part, offset))
    return bytes
  }

  /** Visits a range as its regions have it. */
  #parts({ address, length }: Range, visit: (part: Uint8Array, offset: number) => void): void {
    const { memory } = this.#initiator
    for (let offset = 0; offset < length; ) {
      const at = address + offset
      const region = memory.regions.find(({ guestAddress, size }) => at >= guestAddress && at < guestAddress + size)
      if (region === undefined) throw new RangeError(`no memory at guest address 0x${at.toString(16)}`)
      const part = Math.min(length - offset, region.guestAddress + region.size - at)
      visit(memory.bytes(at, part), offset)
      offset += part
    }
  }
}
