// What was acknowledged with FUA, or before a SYNCHRONIZE CACHE, is there after the power was cut (SBC-3 4.15).
import t from 'tap'
import { FLAG } from '../../scsi/index.js'
import {
  bigEndian,
  FUA,
  SAME,
  synchronizeCache10,
  unmap,
  write10,
  writeAndVerify10,
  writeSame16,
} from '../support/iothreads/cdb.js'
import { ForgetfulDriver } from '../support/iothreads/forgetful-driver.js'
import { QueueRig } from '../support/iothreads/queue-rig.js'
import { seeded } from '../support/iothreads/request-with.js'
import { rounds } from '../support/iothreads/rounds.js'
import { unitSpec } from '../support/iothreads/units.js'
import type { ScsiCommand } from '../support/vhost/scsi-request.js'

const SECTOR = 512
const WORKERS = 8
/** Sectors of each worker: they are its own, so that it knows in which order they were written. */
const SHARE = 24
const SIZE = WORKERS * SHARE * SECTOR
const STEPS = 150
const SEED = Number(process.env.VUS_SEED ?? 1)

/** What an initiator knows of one sector: all that it has had written there, and from where on something has to be there. */
interface Known {
  readonly values: number[]
  /** The first one that may be there. */
  floor: number
}

/** A command on its way. */
interface Sent {
  readonly worker: number
  readonly sectors: readonly number[]
  readonly durable: boolean
  /** For SYNCHRONIZE CACHE: how many values each sector had when it was sent. */
  readonly covers: readonly number[] | null
}

/** Each sector holds one number, over and over. */
const filled = (...values: number[]): Uint8Array =>
  new Uint8Array(Uint32Array.from(values.flatMap((value) => new Array<number>(SECTOR / 4).fill(value))).buffer)

class Initiator {
  readonly sectors: Known[] = Array.from({ length: WORKERS * SHARE }, () => ({ values: [0], floor: 0 }))
  readonly #random: () => number
  readonly #writeThrough: boolean
  /** How many values of each sector are acknowledged. */
  readonly #acknowledged = this.sectors.map(() => 1)
  #next = 1

  constructor(random: () => number, writeThrough: boolean) {
    this.#random = random
    this.#writeThrough = writeThrough
  }

  #below(limit: number): number {
    return Math.floor(this.#random() * limit)
  }

  /** A random command of a worker that has none on its way. */
  command(worker: number): { command: ScsiCommand; sent: Sent } {
    const count = 1 + this.#below(4)
    const lba = worker * SHARE + this.#below(SHARE - count + 1)
    const sectors = Array.from({ length: count }, (_, i) => lba + i)
    const fua = this.#below(3) === 0
    const flag = fua ? FUA : 0
    const fresh = sectors.map(() => this.#next++)
    const last = (sector: number): number => this.sectors[sector]!.values.at(-1)!
    const write = (command: ScsiCommand, values: readonly number[], durable: boolean) => {
      for (const [i, sector] of sectors.entries()) this.sectors[sector]!.values.push(values[i]!)
      return { command, sent: { worker, sectors, durable, covers: null } }
    }
    const zeros = sectors.map(() => 0)
    const durable = fua || this.#writeThrough
    switch (this.#below(8)) {
      case 0: {
        const covers = [...this.#acknowledged]
        return { command: { cdb: synchronizeCache10() }, sent: { worker, sectors: [], durable: false, covers } }
      }
      case 1:
        return write({ cdb: writeAndVerify10(lba, count), dataOut: filled(...fresh) }, fresh, true)
      case 2: {
        const same = sectors.map(() => fresh[0]!)
        return write({ cdb: writeSame16(lba, count), dataOut: filled(fresh[0]!) }, same, this.#writeThrough)
      }
      case 3:
        return write({ cdb: writeSame16(lba, count, SAME.UNMAP | SAME.NO_DATA) }, zeros, this.#writeThrough)
      case 4:
        // What UNMAP does is no write: it is durable with the next SYNCHRONIZE CACHE.
        return write(unmap([[lba, count]]), zeros, false)
      case 5: {
        const dataOut = filled(...sectors.map(last), ...fresh)
        return write({ cdb: [0x89, flag, ...bigEndian(lba, 8), 0, 0, 0, count, 0, 0], dataOut }, fresh, durable)
      }
      case 6: {
        const merged = sectors.map((sector, i) => (last(sector) | fresh[i]!) >>> 0)
        const cdb = [0x8b, flag, ...bigEndian(lba, 8), ...bigEndian(count, 4), 0, 0]
        return write({ cdb, dataOut: filled(...fresh) }, merged, durable)
      }
      default:
        return write({ cdb: write10(lba, count, flag), dataOut: filled(...fresh) }, fresh, durable)
    }
  }

  acknowledged({ sectors, durable, covers }: Sent): void {
    for (const sector of sectors) {
      const known = this.sectors[sector]!
      this.#acknowledged[sector] = known.values.length
      if (durable) known.floor = known.values.length - 1
    }
    covers?.forEach((count, sector) => {
      const known = this.sectors[sector]!
      known.floor = Math.max(known.floor, count - 1)
    })
  }

  /** Sectors that hold what they must not, on a medium whose power was cut. */
  lost(medium: Uint8Array): string[] {
    const words = new Uint32Array(medium.buffer, medium.byteOffset, medium.length / 4)
    return this.sectors.flatMap(({ values, floor }, sector) => {
      const at = (sector * SECTOR) / 4
      const value = words[at]!
      const isWhole = words.subarray(at, at + SECTOR / 4).every((word) => word === value)
      return isWhole && values.includes(value, floor)
        ? []
        : [`sector ${sector}: ${value}, not of ${values.slice(floor)}`]
    })
  }
}

/** Runs random commands until the power is cut: what is lost that should not be, and how many commands were answered. */
function epoch(seed: number, o: { writeThrough: boolean; lies: boolean }): { lost: string[]; answered: number } {
  const random = seeded(seed)
  const driver = new ForgetfulDriver(SIZE)
  driver.lies = o.lies
  const spec = unitSpec({ kind: 'null', delayNs: 0 }, { size: SIZE, flags: o.writeThrough ? 0 : FLAG.WRITE_CACHE })
  const tidyings: (() => unknown)[] = []
  const rig = new QueueRig({ teardown: (tidy) => tidyings.push(tidy) }, { units: [{ ...spec, driver }] })
  const initiator = new Initiator(random, o.writeThrough)
  const sent = new Map<number, Sent>()
  const idle = new Set(Array.from({ length: WORKERS }, (_, worker) => worker))
  let answered = 0
  for (let step = 0; step < STEPS; step++) {
    if (idle.size > 0 && (driver.pending.length === 0 || random() < 0.4)) {
      const worker = [...idle][Math.floor(random() * idle.size)]!
      idle.delete(worker)
      const { command, sent: one } = initiator.command(worker)
      sent.set(rig.submit(command), one)
    } else if (driver.pending.length > 0) {
      const { request, result } = driver.end(Math.floor(random() * driver.pending.length))
      rig.queue.execution.completed(request, result)
    }
    rig.turn()
    for (const { head, result } of rig.answers()) {
      if (result?.response !== 0 || result.status !== 0) throw new Error(`seed ${seed}: ${result?.status}`)
      const one = sent.get(head)!
      sent.delete(head)
      idle.add(one.worker)
      initiator.acknowledged(one)
      answered++
    }
  }
  const lost = initiator.lost(driver.cut(random))
  for (const tidy of tidyings) tidy()
  return { lost, answered }
}

for (const writeThrough of [false, true]) {
  t.test(writeThrough ? 'without a write cache' : 'with a write cache', async (t) => {
    const lost: string[] = []
    let answered = 0
    for (let seed = 0; seed < rounds(40); seed++) {
      const found = epoch(SEED * 100_000 + seed, { writeThrough, lies: false })
      lost.push(...found.lost.map((line) => `seed ${SEED}, epoch ${seed}, ${line}`))
      answered += found.answered
    }
    t.same(lost.slice(0, 5), [])
    t.ok(answered > rounds(40) * 20, `${answered} commands answered`)
  })
}

t.test('a disk that lies is found out', async (t) => {
  const lost = [1, 2, 3, 4, 5].flatMap((seed) => epoch(seed, { writeThrough: false, lies: true }).lost)
  t.ok(lost.length > 0)
})
