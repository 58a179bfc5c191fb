import fc from 'fast-check'
import t from 'tap'
import { SENSE } from '../../scsi/index.js'
import { times } from '../support/long.js'
import { BLOCKS, fixture } from './support/fixture.js'
import type { Initiator, Reply } from './support/initiator.js'

// A disk as an array of small numbers, one a block: what commands do to a real one must look the same. A block with
// content v is filled with v.

type Model = number[]

interface Command {
  check(model: Model): boolean
  run(model: Model, initiator: Initiator): void
}

const BLOCK = 512
const NEAR_THE_END = 40
const lbas = fc.oneof(fc.nat(NEAR_THE_END), fc.integer({ min: BLOCKS - NEAR_THE_END, max: BLOCKS + 3 }))
const counts = fc.nat(12)
const contents = fc.nat(3)
const forms = fc.constantFrom(10, 12, 16)

/** A CDB with an LBA and a number of blocks where READ has them: opcode by form of command. */
function cdbOf(ten: number, form: number, options: number, lba: number, blocks: number): Uint8Array {
  const high = [lba >>> 24, lba >>> 16, lba >>> 8, lba]
  if (form === 10) return Uint8Array.from([ten, options, ...high, 0, blocks >>> 8, blocks, 0])
  if (form === 12) return Uint8Array.from([ten + 0x80, options, ...high, 0, 0, blocks >>> 8, blocks, 0, 0])
  return Uint8Array.from([ten + 0x60, options, 0, 0, 0, 0, ...high, 0, 0, blocks >>> 8, blocks, 0, 0])
}

function filled(values: readonly number[]): Uint8Array {
  const data = new Uint8Array(values.length * BLOCK)
  for (const [i, value] of values.entries()) data.fill(value, i * BLOCK, (i + 1) * BLOCK)
  return data
}

function expectStatus(reply: Reply, sense: number): void {
  if (reply.senseCode !== sense || reply.overrun) {
    throw new Error(`sense ${reply.senseCode.toString(16)} instead of ${sense.toString(16)}, overrun ${reply.overrun}`)
  }
}

/** What a range command ends with, apart from what is its own. */
function rangeSense(lba: number, blocks: number): number {
  return lba + blocks > BLOCKS ? SENSE.LOGICAL_BLOCK_ADDRESS_OUT_OF_RANGE : 0
}

class Read implements Command {
  readonly #args: readonly [number, number, number, boolean]
  constructor(...args: [number, number, number, boolean]) {
    this.#args = args
  }
  check(): boolean {
    return true
  }
  run(model: Model, initiator: Initiator): void {
    const [form, lba, blocks, fua] = this.#args
    const reply = initiator.send(cdbOf(0x28, form, fua ? 8 : 0, lba, blocks), { in: 16 * BLOCK })
    expectStatus(reply, rangeSense(lba, blocks))
    if (reply.status !== 0) return
    const expected = filled(model.slice(lba, lba + blocks))
    if (Buffer.compare(reply.dataIn, expected) !== 0) throw new Error(`READ of ${lba}, ${blocks} differs`)
  }
  toString(): string {
    return `Read(${this.#args})`
  }
}

class Write implements Command {
  readonly #args: readonly [number, number, readonly number[], boolean]
  constructor(...args: [number, number, readonly number[], boolean]) {
    this.#args = args
  }
  check(): boolean {
    return true
  }
  run(model: Model, initiator: Initiator): void {
    const [form, lba, values, verify] = this.#args
    const cdb = cdbOf(verify ? 0x2e : 0x2a, form, verify ? 2 : 8, lba, values.length)
    expectStatus(initiator.send(cdb, { out: filled(values) }), rangeSense(lba, values.length))
    if (lba + values.length <= BLOCKS) model.splice(lba, values.length, ...values)
  }
  toString(): string {
    return `Write(${this.#args})`
  }
}

class WriteSame implements Command {
  readonly #args: readonly [boolean, number, number, number, boolean, boolean]
  constructor(...args: [boolean, number, number, number, boolean, boolean]) {
    this.#args = args
  }
  check(): boolean {
    return true
  }
  run(model: Model, initiator: Initiator): void {
    const [ten, lba, blocks, value, unmap, noData] = this.#args
    const ndob = noData && !ten
    const options = (unmap ? 8 : 0) | (ndob ? 1 : 0)
    const cdb = cdbOf(ten ? 0x41 : 0x33, ten ? 10 : 16, options, lba, blocks)
    const reply = initiator.send(cdb, ndob ? {} : { out: filled([value]) })
    const sense = rangeSense(lba, blocks)
    expectStatus(reply, sense === 0 && blocks === 0 ? SENSE.INVALID_FIELD_IN_CDB : sense)
    if (reply.status === 0) model.fill(ndob ? 0 : value, lba, lba + blocks)
  }
  toString(): string {
    return `WriteSame(${this.#args})`
  }
}

class Unmap implements Command {
  readonly #ranges: readonly (readonly [number, number])[]
  constructor(ranges: readonly (readonly [number, number])[]) {
    this.#ranges = ranges
  }
  check(): boolean {
    return true
  }
  run(model: Model, initiator: Initiator): void {
    const view = new DataView(new ArrayBuffer(8 + 16 * this.#ranges.length))
    view.setUint16(0, view.byteLength - 2)
    view.setUint16(2, view.byteLength - 8)
    for (const [i, [lba, blocks]] of this.#ranges.entries()) {
      view.setUint32(8 + 16 * i + 4, lba)
      view.setUint32(8 + 16 * i + 8, blocks)
    }
    const cdb = Uint8Array.of(0x42, 0, 0, 0, 0, 0, 0, view.byteLength >>> 8, view.byteLength, 0)
    const reply = initiator.send(cdb, { out: new Uint8Array(view.buffer) })
    const bad = this.#ranges.find(([lba, blocks]) => rangeSense(lba, blocks) !== 0)
    expectStatus(reply, bad === undefined ? 0 : SENSE.LOGICAL_BLOCK_ADDRESS_OUT_OF_RANGE)
    if (bad === undefined) for (const [lba, blocks] of this.#ranges) model.fill(0, lba, lba + blocks)
  }
  toString(): string {
    return `Unmap(${JSON.stringify(this.#ranges)})`
  }
}

class Verify implements Command {
  readonly #args: readonly [number, number, readonly number[], boolean]
  constructor(...args: [number, number, readonly number[], boolean]) {
    this.#args = args
  }
  check(): boolean {
    return true
  }
  run(model: Model, initiator: Initiator): void {
    const [form, lba, values, oneBlock] = this.#args
    const data = oneBlock ? values.slice(0, 1) : values
    const cdb = cdbOf(0x2f, form, oneBlock ? 6 : 2, lba, values.length)
    const reply = initiator.send(cdb, { out: filled(data.length > 0 ? data : [0]) })
    let sense = rangeSense(lba, values.length)
    const differing = values.findIndex((value, i) => model[lba + i] !== (oneBlock ? data[0] : value))
    if (sense === 0 && differing >= 0) sense = SENSE.MISCOMPARE_DURING_VERIFY_OPERATION
    expectStatus(reply, sense)
    if (sense !== SENSE.MISCOMPARE_DURING_VERIFY_OPERATION) return
    const at = Number.parseInt(reply.sense.split(' ').slice(3, 7).join(''), 16)
    if (at !== lba + differing) throw new Error(`miscompare at ${at} instead of ${lba + differing}`)
  }
  toString(): string {
    return `Verify(${this.#args})`
  }
}

const values = fc.array(contents, { maxLength: 12 })
const commands: fc.Arbitrary<Command>[] = [
  fc.tuple(forms, lbas, counts, fc.boolean()).map((args) => new Read(...args)),
  fc.tuple(forms, lbas, values, fc.boolean()).map((args) => new Write(...args)),
  fc.tuple(fc.boolean(), lbas, counts, contents, fc.boolean(), fc.boolean()).map((args) => new WriteSame(...args)),
  fc.array(fc.tuple(lbas, counts), { maxLength: 4 }).map((ranges) => new Unmap(ranges)),
  fc.tuple(forms, lbas, values, fc.boolean()).map((args) => new Verify(...args)),
]

t.test('a disk keeps what is written to it, whatever with', { timeout: 0 }, async (t) => {
  fc.assert(
    fc.property(fc.commands(commands, { maxCommands: 60 }), (script) => {
      const { initiator, medium } = fixture()
      const model: Model = new Array<number>(BLOCKS).fill(0)
      fc.modelRun(() => ({ model, real: initiator }), script)
      if (Buffer.compare(medium.bytes, filled(model)) !== 0) throw new Error('the medium differs at the end')
    }),
    { numRuns: times(300) },
  )
  t.pass()
})
