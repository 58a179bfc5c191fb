import {
  type ChainSegment,
  type ChainStyle,
  CMD_REQUEST,
  CMD_RESPONSE,
  type DriverMemory,
  encodeLun,
} from 'vhost-user-protocol-ts'
import { prepareChain, type RingDriver } from '../support/vhost/ring-driver.js'
import type { Histogram } from './histogram.js'

export type Op = 'randread' | 'randwrite' | 'read' | 'write'

export interface LoadOptions {
  readonly op: Op
  /** Bytes of one request, a multiple of 512. */
  readonly blockSize: number
  readonly depth: number
  /** Bytes of the medium that requests are spread over. */
  readonly span: number
  readonly style: ChainStyle
  readonly target: number
  readonly lun: number
  readonly seed: number
  /** One request in so many is timed. Default 251. */
  readonly probeEvery?: number
}

const READ_10 = 0x28
const WRITE_10 = 0x2a
/** A slot holds its request in the first cache line and its response behind it. */
const RESPONSE_AT = 64
const SLOT_BYTES = 256
const PROBE_EVERY = 251

/** Keeps `depth` requests in flight on one queue. Everything is laid out beforehand; `turn` allocates nothing. */
export class Load {
  readonly driver: RingDriver
  readonly depth: number
  /** Requests that did not end with OK and GOOD, and the response, status and sense of the first of them. */
  failed = 0
  firstFailure = ''
  kicks = 0
  readonly #view: DataView
  readonly #status: Uint32Array
  readonly #heads: Int32Array
  readonly #reaped: Int32Array
  readonly #cdbAt: Int32Array
  readonly #statusAt: Int32Array
  readonly #random: boolean
  readonly #sectors: number
  readonly #blocks: number
  readonly #latencies: Histogram
  readonly #clock: () => number
  readonly #probeEvery: number
  #seed: number
  #position = 0
  #probeHead = -1
  #probeStart = -0.5
  #untilProbe: number

  /** @param clock nanoseconds, without allocating */
  constructor(driver: RingDriver, memory: DriverMemory, o: LoadOptions, latencies: Histogram, clock: () => number) {
    const slots = memory.allocate(o.depth * SLOT_BYTES, 4096)
    const data = memory.allocate(o.depth * o.blockSize, 4096)
    this.driver = driver
    this.depth = o.depth
    this.#view = new DataView(slots.buffer, slots.byteOffset, slots.length)
    this.#status = new Uint32Array(slots.buffer, slots.byteOffset, slots.length / 4)
    this.#heads = new Int32Array(o.depth)
    this.#reaped = new Int32Array(driver.size)
    this.#cdbAt = new Int32Array(driver.size)
    this.#statusAt = new Int32Array(driver.size)
    this.#random = o.op === 'randread' || o.op === 'randwrite'
    this.#sectors = o.blockSize / 512
    this.#blocks = Math.floor(o.span / o.blockSize)
    this.#latencies = latencies
    this.#clock = clock
    this.#probeEvery = o.probeEvery ?? PROBE_EVERY
    this.#untilProbe = this.#probeEvery
    this.#seed = o.seed | 1
    this.#probeStart = 0
    const writes = o.op === 'randwrite' || o.op === 'write'
    const bytes = new Uint8Array(slots.buffer, slots.byteOffset, slots.length)
    bytes.fill(0)
    new Uint8Array(data.buffer, data.byteOffset, data.length).fill(0x5a)
    for (let i = 0; i < o.depth; i++) {
      const at = i * SLOT_BYTES
      encodeLun(bytes, at + CMD_REQUEST.LUN, o.target, o.lun)
      const cdb = at + CMD_REQUEST.CDB
      bytes[cdb] = writes ? WRITE_10 : READ_10
      this.#view.setUint16(cdb + 7, this.#sectors)
      // A response that was never written counts as a failure.
      bytes.fill(0xff, at + RESPONSE_AT, at + RESPONSE_AT + CMD_RESPONSE.SIZE)
      const buffer = { address: data.address + i * o.blockSize, length: o.blockSize, writable: !writes }
      const response = { address: slots.address + at + RESPONSE_AT, length: CMD_RESPONSE.SIZE, writable: true }
      const segments: ChainSegment[] = [{ address: slots.address + at, length: CMD_REQUEST.SIZE, writable: false }]
      segments.push(...(writes ? [buffer, response] : [response, buffer]))
      const head = prepareChain(driver, segments, o.style)
      this.#heads[i] = head
      this.#cdbAt[head] = cdb + 2
      // status_qualifier, status and response share one aligned word.
      this.#statusAt[head] = (at + RESPONSE_AT + CMD_RESPONSE.STATUS_QUALIFIER) / 4
    }
  }

  /** Submits every slot. True when the device has to be kicked. */
  start(): boolean {
    for (let i = 0; i < this.depth; i++) this.#submit(this.#heads[i]!)
    return this.driver.publish()
  }

  /** Reaps what is there and submits it again, with one publish. Returns the completions; `wantsKick` says the rest. */
  turn(): number {
    const driver = this.driver
    const reaped = this.#reaped
    const count = driver.reap(reaped)
    if (count === 0) return 0
    let head = 0
    for (let i = 0; i < count; i++) {
      head = reaped[i]!
      if (this.#status[this.#statusAt[head]!] !== 0) this.#fail(head)
      if (head === this.#probeHead) {
        this.#latencies.record(this.#clock() - this.#probeStart)
        this.#probeHead = -1
      }
      this.#submit(head)
    }
    this.#untilProbe -= count
    if (this.#untilProbe <= 0 && this.#probeHead < 0) {
      this.#untilProbe = this.#probeEvery
      this.#probeHead = head
      this.#probeStart = this.#clock()
    }
    this.wantsKick = driver.publish()
    return count
  }

  /** After `turn` or `start`: the device asked to be notified. */
  wantsKick = false

  /** Reaps without submitting again. Returns what is still in flight. */
  drain(): number {
    const count = this.driver.reap(this.#reaped)
    for (let i = 0; i < count; i++)
      if (this.#status[this.#statusAt[this.#reaped[i]!]!] !== 0) this.#fail(this.#reaped[i]!)
    this.#probeHead = -1
    return this.driver.outstanding
  }

  /** Gives the descriptors back. Nothing may be in flight. */
  release(): void {
    for (let i = 0; i < this.depth; i++) this.driver.release(this.#heads[i]!)
  }

  #submit(head: number): void {
    let block = 0
    if (this.#random) {
      // xorshift32 (Marsaglia 2003), spread over the blocks.
      let x = this.#seed
      x ^= x << 13
      x ^= x >>> 17
      x ^= x << 5
      this.#seed = x
      block = ((x >>> 0) * (this.#blocks / 2 ** 32)) >>> 0
    } else {
      block = this.#position
      this.#position = block + 1 < this.#blocks ? block + 1 : 0
    }
    this.#view.setUint32(this.#cdbAt[head]!, block * this.#sectors)
    this.driver.submit(head)
  }

  #fail(head: number): void {
    if (this.failed++ > 0) return
    const at = this.#statusAt[head]! * 4 - CMD_RESPONSE.STATUS_QUALIFIER
    const sense = new Uint8Array(this.#view.buffer, this.#view.byteOffset + at + CMD_RESPONSE.SENSE, 18)
    const response = this.#view.getUint8(at + CMD_RESPONSE.RESPONSE)
    const status = this.#view.getUint8(at + CMD_RESPONSE.STATUS)
    this.firstFailure = `response ${response}, status ${status}, sense ${Buffer.from(sense).toString('hex')}`
  }
}
