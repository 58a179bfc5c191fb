import { RESPONSE } from 'vhost-user-protocol-ts'
import { SENSE, STATUS } from '../../../scsi/index.js'
import type { ScsiCommand, ScsiResult } from '../vhost/scsi-request.js'
import {
  BYTCHK,
  FUA,
  read6,
  read10,
  read12,
  read16,
  SAME,
  senseCode,
  synchronizeCache10,
  unmap,
  verify10,
  verify16,
  write6,
  write10,
  write12,
  write16,
  writeAndVerify10,
  writeSame10,
  writeSame16,
} from './cdb.js'

const BLOCK = 512

/** A command, and what its answer has to be by the model at the time when it was made. */
export interface Expected {
  readonly command: ScsiCommand
  /** What is wrong with an answer; '': nothing. */
  check(answer: ScsiResult): string
}

/** A byte array that commands are tried against: what a disk of 512 byte blocks has to hold afterwards. */
export class DiskModel {
  readonly bytes: Uint8Array
  readonly #random: () => number

  constructor(size: number, random: () => number) {
    this.bytes = new Uint8Array(size)
    this.#random = random
  }

  below(limit: number): number {
    return Math.floor(this.#random() * limit)
  }

  /**
   * A random command on blocks [lba, lba + blocks), which no command in flight touches. The model has its effect at
   * once.
   */
  command(lba: number, blocks: number): Expected {
    const kinds = [
      () => this.#read(lba, blocks),
      () => this.#read(lba, blocks),
      () => this.#write(lba, blocks),
      () => this.#write(lba, blocks),
      () => this.#writeSame(lba, blocks),
      () => this.#unmap(lba, blocks),
      () => this.#verify(lba, blocks),
      () => this.#flush(),
    ]
    return kinds[this.below(kinds.length)]!()
  }

  #range(lba: number, blocks: number): Uint8Array {
    return this.bytes.subarray(lba * BLOCK, (lba + blocks) * BLOCK)
  }

  #fill(length: number): Uint8Array {
    const [a, b] = [this.below(256), 1 + this.below(255)]
    return Uint8Array.from({ length }, (_, i) => a + i * b + (i >>> 8))
  }

  /** Bytes of buffer that the command has no use for, now and then. */
  #spare(): number {
    return this.below(5) === 0 ? this.below(2000) : 0
  }

  #fua(): number {
    return this.below(8) === 0 ? FUA : 0
  }

  #read(lba: number, blocks: number): Expected {
    const forms = [read10, read12, read16]
    const form = blocks <= 255 && this.below(4) === 0 ? 'six' : forms[this.below(3)]!
    const cdb = form === 'six' ? read6(lba, blocks) : form(lba, blocks, this.#fua())
    const length = blocks * BLOCK
    const expected = this.#range(lba, blocks).slice()
    const spare = this.#spare()
    return {
      command: { cdb, dataIn: length + spare },
      check: (answer) => {
        if (Buffer.compare(answer.data.subarray(0, length), expected) !== 0) return 'other data'
        if (answer.data.subarray(length).some((byte) => byte !== 0)) return 'data behind the transfer'
        return good(answer, spare, 108 + length)
      },
    }
  }

  #write(lba: number, blocks: number): Expected {
    const forms = [write10, write12, write16, writeAndVerify10]
    const form = blocks <= 255 && this.below(4) === 0 ? 'six' : forms[this.below(4)]!
    const byte1 = form === writeAndVerify10 ? [0, BYTCHK.COMPARE][this.below(2)]! : this.#fua()
    const cdb = form === 'six' ? write6(lba, blocks) : form(lba, blocks, byte1)
    const spare = this.#spare()
    const dataOut = this.#fill(blocks * BLOCK + spare)
    this.#range(lba, blocks).set(dataOut.subarray(0, blocks * BLOCK))
    return { command: { cdb, dataOut }, check: (answer) => good(answer, spare, 108) }
  }

  #writeSame(lba: number, blocks: number): Expected {
    const isZero = this.below(2) === 0
    const noData = isZero && this.below(3) === 0
    const byte1 = (this.below(2) === 0 ? SAME.UNMAP : 0) | (noData ? SAME.NO_DATA : 0)
    const cdb = noData || this.below(2) === 0 ? writeSame16(lba, blocks, byte1) : writeSame10(lba, blocks, byte1)
    const block = isZero ? new Uint8Array(BLOCK) : this.#fill(BLOCK)
    for (let i = 0; i < blocks; i++) this.#range(lba + i, 1).set(block)
    if (noData) return { command: { cdb }, check: (answer) => good(answer, 0, 108) }
    return { command: { cdb, dataOut: block }, check: (answer) => good(answer, 0, 108) }
  }

  #unmap(lba: number, blocks: number): Expected {
    const ranges: [number, number][] = []
    for (let at = lba; at < lba + blocks; ) {
      const length = Math.min(1 + this.below(blocks), lba + blocks - at)
      if (this.below(3) > 0) ranges.push([at, length])
      at += length
    }
    for (const [at, length] of ranges) this.#range(at, length).fill(0)
    return { command: unmap(ranges), check: (answer) => good(answer, 0, 108) }
  }

  #verify(lba: number, blocks: number): Expected {
    const form = this.below(2) === 0 ? verify10 : verify16
    const length = blocks * BLOCK
    const data = this.#range(lba, blocks).slice()
    if (this.below(3) === 0) return { command: { cdb: form(lba, blocks) }, check: (answer) => good(answer, 0, 108) }
    if (this.below(3) === 0) {
      const same = data.slice(0, BLOCK)
      const different = data.findIndex((byte, i) => byte !== same[i % BLOCK])
      const cdb = form(lba, blocks, BYTCHK.COMPARE_ONE_BLOCK)
      const command = { cdb, dataOut: same }
      if (different < 0) return { command, check: (answer) => good(answer, 0, 108) }
      return { command, check: (answer) => miscompare(answer, lba + Math.floor(different / BLOCK), BLOCK) }
    }
    const cdb = form(lba, blocks, BYTCHK.COMPARE)
    if (this.below(2) === 0) return { command: { cdb, dataOut: data }, check: (answer) => good(answer, 0, 108) }
    const place = this.below(length)
    data[place]! ^= 1 + this.below(255)
    const command = { cdb, dataOut: data }
    return { command, check: (answer) => miscompare(answer, lba + Math.floor(place / BLOCK), length) }
  }

  #flush(): Expected {
    return { command: { cdb: synchronizeCache10() }, check: (answer) => good(answer, 0, 108) }
  }
}

function good(answer: ScsiResult, residual: number, usedLength: number): string {
  const { response, status } = answer
  if (response !== RESPONSE.OK || status !== STATUS.GOOD) {
    return `response ${response}, status ${status}, sense ${senseCode(answer.sense).toString(16)}`
  }
  if (answer.residual !== residual) return `residual ${answer.residual}, not ${residual}`
  return answer.usedLength === usedLength ? '' : `used length ${answer.usedLength}, not ${usedLength}`
}

function miscompare(answer: ScsiResult, lba: number, residual: number): string {
  const { response, status, sense } = answer
  if (response !== RESPONSE.OK || status !== STATUS.CHECK_CONDITION) return `response ${response}, status ${status}`
  if (senseCode(sense) !== SENSE.MISCOMPARE_DURING_VERIFY_OPERATION) return `sense ${senseCode(sense).toString(16)}`
  const information = new DataView(sense.buffer, sense.byteOffset).getUint32(3)
  if (information !== lba) return `miscompare at ${information}, not ${lba}`
  return answer.residual === residual ? '' : `residual ${answer.residual}, not ${residual}`
}
