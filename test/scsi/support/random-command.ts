import { PARAMETERS } from '../../../scsi/command.js'
import { type Command, MAX_PARAMETER_BYTES } from '../../../scsi/index.js'
import type { Random } from '../../support/random.js'
import { bytes } from './hex.js'

/** Parameter lists that are right, or nearly: each is changed a little now and then. */
const LISTS: readonly Uint8Array[] = [
  // UNMAP: two descriptors
  '00 26 00 20 00*4 00*7 01 00 00 00 01 00*4 00*6 07 ff 00 00 00 01 00*4',
  // MODE SELECT(6) and (10): the caching page, the control page
  '00*4 08 12 04 00*17',
  '00*8 0a 0a 06 10 00 08 00*6',
  // SEND DIAGNOSTIC
  '00*4',
  // PERSISTENT RESERVE OUT: register, reserve, move
  '00*15 01 00*8',
  '00*7 01 00*16',
  '00*7 01 00*7 02 00 00 00 01 00 00 00 18 06 00 00 00 50 00 00 00 00 00 00 77 00*12',
  // EXTENDED COPY: one block
  '01 00 00 20 00*4 00 00 00 1c 00*4 e4 00 00 00 01 03 00 08 30 01 02 03 04 05 06 07 00*13 00 02 00 02 00 00 18 00*7 01 00*7 03 00*7 08',
  // FORMAT UNIT with a pattern, SANITIZE with one
  '00 88 00 00 00 01 00 01 5a',
  '03 00 00 01 5a',
].map(bytes)

const LENGTHS = [0, 1, 24, 96, 512, 1024, 4096, 8192, 65536, 2 ** 20, 2 ** 32] as const

/** Makes commands of any bytes, most of them such as get somewhere, with buffers of any size; the same ones for a seed. */
export class RandomCommand {
  readonly cdb = new Uint8Array(32)
  /** What is at the start of data-out; the rest of that is zeros. */
  readonly list = new Uint8Array(MAX_PARAMETER_BYTES)
  dataOut = 0
  dataIn = 0
  readonly #random: Random
  readonly #commands: readonly Command[]
  readonly #view = new DataView(this.cdb.buffer)
  #listed = 0

  constructor(random: Random, commands: readonly Command[]) {
    this.#random = random
    this.#commands = commands
  }

  /** Makes the next one. */
  next(): void {
    const random = this.#random
    random.fill(this.cdb)
    this.dataOut = this.#length()
    this.dataIn = this.#length()
    this.list.fill(0, 0, this.#listed)
    this.#listed = 0
    // Any bytes at all
    if (random.once(6)) return
    const command = random.pick(this.#commands)
    this.#shape(command)
    if (command.parameters !== PARAMETERS.NONE) this.#fillList(command.parameters)
  }

  #length(): number {
    const random = this.#random
    if (random.once(4)) return random.next() * (random.once(2) ? 1 : 256)
    return random.pick(LENGTHS) + (random.once(4) ? random.below(600) : 0)
  }

  #shape(command: Command): void {
    const random = this.#random
    const { cdb } = this
    cdb[0] = command.opcode
    const allowed = !random.once(8)
    // Small numbers make ranges that are on the medium.
    const small = !random.once(4)
    const short = !random.once(3)
    for (let i = 1; i < command.length; i++) {
      if (allowed) cdb[i]! &= command.usage[i]!
      if (small && i >= 2 && i < command.length - 3 && !random.once(8)) cdb[i] = 0
      if (short && i >= command.length - 3) cdb[i]! &= random.below(16)
    }
    if (command.serviceAction >= 0) cdb[1] = (cdb[1]! & 0xe0) | command.serviceAction
    if (allowed) cdb[1]! &= command.usage[1]!
  }

  #fillList(parameters: number): void {
    const random = this.#random
    const given = random.pick(LISTS)
    this.list.set(given)
    this.#listed = given.length
    for (let changes = random.below(4); changes > 0; changes--) this.list[random.below(given.length)] = random.next()
    if (random.once(8)) return
    this.dataOut = given.length + (random.once(4) ? random.below(9) : 0)
    switch (parameters) {
      case PARAMETERS.BYTE_4:
        this.cdb[4] = given.length
        break
      case PARAMETERS.WORD_3:
        this.#view.setUint16(3, given.length)
        break
      case PARAMETERS.WORD_7:
        this.#view.setUint16(7, given.length)
        break
      case PARAMETERS.LONG_5:
        this.#view.setUint32(5, given.length)
        break
      case PARAMETERS.TRIPLE_6:
        this.#view.setUint16(7, given.length)
        this.cdb[6] = 0
        break
      case PARAMETERS.LONG_10:
        this.#view.setUint32(10, given.length)
        break
    }
  }
}
