/** Requests of all kinds whose answers lie scattered over guest memory that nobody else writes to. */
import {
  type ChainSegment,
  type ChainStyle,
  CMD_REQUEST,
  CMD_RESPONSE,
  EVENT,
  LOG_PAGE,
  TMF,
  TMF_REQUEST,
  TMF_RESPONSE,
  VQ,
} from 'vhost-user-protocol-ts'
import {
  inquiry,
  read10,
  read16,
  readCapacity10,
  reportLuns,
  TEST_UNIT_READY,
  verify10,
  write10,
} from '../iothreads/cdb.js'
import type { Random } from '../random.js'
import { bytesOf } from './arena.js'
import type { Initiator } from './initiator.js'
import { writeCommand, writeTmf } from './scsi-request.js'

const BLOCK = 512
/** Bytes that no request needs more of, with the gaps between its pieces. */
const MOST = 40 * LOG_PAGE
const MIN_CDB = 10

export interface Disk {
  readonly target: number
  readonly lun: number
  /** Blocks. */
  readonly blocks: number
}

interface Planned {
  readonly cdb: readonly number[]
  readonly dataOut?: number
  readonly dataIn?: number
}

export class ScatteredLoad {
  /** Requests that came back, by what they were. */
  readonly done = new Map<string, number>()
  readonly #initiator: Initiator
  readonly #disks: readonly Disk[]
  readonly #random: Random
  readonly #end: number
  #next: number
  #limit: number
  #waiting: (() => void)[] = []
  #reached: (() => void)[] = []

  /** @param start, end guest addresses that the device is to write to, page-aligned; only once to each */
  constructor(initiator: Initiator, disks: readonly Disk[], random: Random, start: number, end: number) {
    this.#initiator = initiator
    this.#disks = disks
    this.#random = random
    this.#next = start
    this.#limit = start
    // Two of them: one for the jobs, one for `last`.
    this.#end = end - 2 * MOST
  }

  /** Runs jobs on all queues, until the memory is used up. */
  async run(jobs: number): Promise<void> {
    const queues = this.#initiator.queues.length - 2
    const running: Promise<void>[] = [this.#abort()]
    for (let job = 0; job < jobs; job++) running.push(this.#job(job % queues))
    await Promise.all(running)
  }

  /** Lets the jobs go on until `share` of the memory is used (0 to 1); resolves when half of what was allowed anew is. */
  async advance(share: number): Promise<void> {
    const from = this.#next
    this.#limit = from + (this.#end - from) * share
    const middle = (from + this.#limit) / 2
    for (const resolve of this.#waiting.splice(0)) resolve()
    while (this.#next < middle) await new Promise<void>((resolve) => this.#reached.push(resolve))
  }

  /** Puts a last read from a disk into each request queue; resolves when all are answered. */
  async last(disk: Disk): Promise<void> {
    const reads: Promise<number>[] = []
    for (const queue of this.#initiator.queues.filter(({ index }) => index >= VQ.REQUEST)) {
      const { segments } = this.#layOut({ cdb: read10(0, 8), dataIn: 8 * BLOCK, disk })
      reads.push(queue.add(segments).done)
      queue.publish()
    }
    await Promise.all(reads)
  }

  /** Whether jobs have to wait for `advance`. */
  get #held(): boolean {
    for (const resolve of this.#reached.splice(0)) resolve()
    return this.#next >= this.#limit && !this.#full
  }

  get #full(): boolean {
    return this.#next >= this.#end
  }

  #advanced(): Promise<void> {
    return new Promise<void>((resolve) => this.#waiting.push(resolve))
  }

  async #job(queue: number): Promise<void> {
    for (;;) {
      while (this.#held) await this.#advanced()
      if (this.#full) return
      const kind = this.#random.once(8) ? this.#odd() : this.#plan()
      const { head, segments } = this.#layOut(kind.planned)
      if (kind.short === 'header') segments.splice(0, 1, { ...head, length: head.length - 1 })
      if (kind.short === 'response') segments.splice(1, segments.length, this.#room(CMD_RESPONSE.SIZE - 1))
      const style: ChainStyle = this.#random.pick(['direct', 'indirect', 'mixed'] as const)
      const through = this.#initiator.request(queue)
      const { done } = through.add(segments, style)
      through.publish()
      await done
      this.#count(kind.name)
    }
  }

  /** Gives the device a buffer for an event; resolves when there is one in it. */
  async event(): Promise<void> {
    const { events } = this.#initiator
    const { done } = events.add([this.#room(EVENT.SIZE)])
    events.publish()
    await done
    this.#count('event')
  }

  #count(name: string): void {
    this.done.set(name, (this.done.get(name) ?? 0) + 1)
  }

  /** Task management on the control queue: what is cancelled is answered as well. */
  async #abort(): Promise<void> {
    const { memory, control } = this.#initiator
    for (;;) {
      while (this.#held) await this.#advanced()
      if (this.#full) return
      const request = memory.allocate(TMF_REQUEST.SIZE, 16, 0)
      const { target, lun } = this.#random.pick(this.#disks)
      writeTmf(bytesOf(request), TMF.ABORT_TASK_SET, target, lun, 0)
      const { address, length } = request
      const room = this.#room(TMF_RESPONSE.SIZE)
      const { done } = control.add([{ address, length, writable: false }, room])
      control.publish()
      await done
      this.#count('abort')
    }
  }

  #plan(): { name: string; planned: Planned & { disk: Disk }; short?: 'header' | 'response' } {
    const random = this.#random
    const disk = random.pick(this.#disks)
    const blocks = 1 + random.below(16)
    const lba = random.below(disk.blocks - blocks)
    const bytes = blocks * BLOCK
    const kinds: Record<string, Planned> = {
      read: { cdb: read10(lba, blocks), dataIn: bytes },
      'read 16': { cdb: read16(lba, blocks), dataIn: bytes },
      'read with more room': { cdb: read10(lba, blocks), dataIn: bytes + 1 + random.below(9000) },
      'read without enough room': { cdb: read10(lba, blocks), dataIn: Math.max(1, bytes - 1 - random.below(500)) },
      'read beyond the end': { cdb: read10(disk.blocks - 1, blocks + 1), dataIn: bytes },
      write: { cdb: write10(lba, blocks), dataOut: bytes },
      verify: { cdb: verify10(lba, blocks, 2), dataOut: bytes },
      inquiry: { cdb: inquiry(96), dataIn: 96 },
      'report LUNs': { cdb: reportLuns(4096), dataIn: 4096 },
      'read capacity': { cdb: readCapacity10(), dataIn: 8 },
      ready: { cdb: TEST_UNIT_READY },
      'no such command': { cdb: [0xff, ...Array<number>(MIN_CDB - 1).fill(0)], dataIn: 64 },
      'both ways': { cdb: read10(lba, blocks), dataIn: bytes, dataOut: bytes },
    }
    const name = random.pick(Object.keys(kinds))
    return { name, planned: { ...kinds[name]!, disk } }
  }

  /** What is no request, or is for nobody. */
  #odd(): { name: string; planned: Planned & { disk: Disk }; short?: 'header' | 'response' } {
    const disk = { target: 200, lun: 1, blocks: 100 }
    const planned = { cdb: read10(0, 8), dataIn: 4096, disk }
    switch (this.#random.below(3)) {
      case 0:
        return { name: 'no such target', planned }
      case 1:
        return { name: 'short header', planned: { cdb: TEST_UNIT_READY, disk }, short: 'header' }
      default:
        return { name: 'short response', planned: { cdb: TEST_UNIT_READY, disk }, short: 'response' }
    }
  }

  #layOut({ cdb, dataOut, dataIn, disk }: Planned & { disk: Disk }): { head: ChainSegment; segments: ChainSegment[] } {
    const { memory } = this.#initiator
    const header = memory.allocate(CMD_REQUEST.SIZE, 16, 0)
    writeCommand(bytesOf(header), { cdb, ...disk }, 7)
    const head = { address: header.address, length: header.length, writable: false }
    const segments: ChainSegment[] = [head]
    if (dataOut !== undefined) {
      const data = memory.allocate(dataOut, 1, 0)
      this.#random.fill(bytesOf(data).subarray(0, 64))
      segments.push({ address: data.address, length: data.length, writable: false })
    }
    segments.push(...this.#pieces(CMD_RESPONSE.SIZE, 4))
    if (dataIn !== undefined) segments.push(...this.#pieces(dataIn, 2))
    return { head, segments }
  }

  /** Room for `length` bytes, in one piece but for once in `often` times. */
  #pieces(length: number, often: number): ChainSegment[] {
    if (!this.#random.once(often)) return [this.#room(length)]
    const pieces: ChainSegment[] = []
    for (let left = length; left > 0; ) {
      const part = pieces.length === 3 ? left : Math.min(left, 1 + this.#random.below(left))
      pieces.push(this.#room(part))
      left -= part
    }
    return pieces
  }

  /** Pages that nobody has written to yet; a range that begins anywhere in the first of them, aligned or not. */
  #room(length: number): ChainSegment {
    const offset = this.#random.once(3) ? this.#random.below(LOG_PAGE) : 8 * this.#random.below(LOG_PAGE / 8)
    const address = this.#next + offset
    this.#next = LOG_PAGE * Math.ceil((address + length) / LOG_PAGE)
    return { address, length, writable: true }
  }
}
