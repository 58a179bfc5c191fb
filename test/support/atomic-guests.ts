import type { Teardown } from './teardown.js'
import { Initiator, type InitiatorOptions } from './vhost/initiator.js'
import type { ScsiResult } from './vhost/scsi-request.js'

export const BLOCK = 512

/** MISCOMPARE DURING VERIFY OPERATION: sense key, ASC, ASCQ. */
const MISCOMPARE = [0x0e, 0x1d, 0x00]

/** A CDB of 16 bytes: LBA, and a number of blocks where the opcode has it. */
function cdb16(opcode: number, lba: number, blocks: number): Uint8Array {
  const cdb = new Uint8Array(16)
  const view = new DataView(cdb.buffer)
  cdb[0] = opcode
  view.setUint32(6, lba)
  view.setUint32(10, blocks)
  return cdb
}

/** The key, ASC and ASCQ of sense data in fixed format. */
export function senseOf({ sense }: ScsiResult): number[] {
  return [sense[2]! & 15, sense[12]!, sense[13]!]
}

/** One request queue of one guest, with LUN 0 of target 0: one command at a time. */
export class AtomicGuest {
  readonly initiator: Initiator
  readonly queue: number

  constructor(initiator: Initiator, queue: number) {
    this.initiator = initiator
    this.queue = queue
  }

  #scsi(cdb: Uint8Array, data: { dataOut?: Uint8Array; dataIn?: number }): Promise<ScsiResult> {
    return this.initiator.scsi({ cdb, target: 0, lun: 0, ...data }, { queue: this.queue })
  }

  async #good(what: string, cdb: Uint8Array, data: { dataOut?: Uint8Array; dataIn?: number }): Promise<ScsiResult> {
    const result = await this.#scsi(cdb, data)
    if (result.response !== 0 || result.status !== 0) throw new Error(`${what}: ${JSON.stringify(result)}`)
    return result
  }

  async read(lba: number, blocks = 1): Promise<Uint8Array> {
    return (await this.#good('READ', cdb16(0x88, lba, blocks), { dataIn: blocks * BLOCK })).data
  }

  async write(lba: number, data: Uint8Array): Promise<void> {
    await this.#good('WRITE', cdb16(0x8a, lba, data.length / BLOCK), { dataOut: data })
  }

  async orWrite(lba: number, data: Uint8Array): Promise<void> {
    await this.#good('ORWRITE', cdb16(0x8b, lba, data.length / BLOCK), { dataOut: data })
  }

  async writeAtomic(lba: number, data: Uint8Array): Promise<void> {
    await this.#good('WRITE ATOMIC', cdb16(0x9c, lba, data.length / BLOCK), { dataOut: data })
  }

  /** COMPARE AND WRITE, however it ends. */
  compareAndWrite(lba: number, before: Uint8Array, after: Uint8Array): Promise<ScsiResult> {
    const dataOut = new Uint8Array(2 * before.length)
    dataOut.set(before)
    dataOut.set(after, before.length)
    const cdb = cdb16(0x89, lba, before.length / BLOCK)
    return this.#scsi(cdb, { dataOut })
  }

  /** Whether COMPARE AND WRITE wrote; false: MISCOMPARE. */
  async compares(lba: number, before: Uint8Array, after: Uint8Array): Promise<boolean> {
    const result = await this.compareAndWrite(lba, before, after)
    if (result.response === 0 && result.status === 0) return true
    if (result.response === 0 && result.status === 2 && senseOf(result).every((each, i) => each === MISCOMPARE[i]))
      return false
    throw new Error(`COMPARE AND WRITE: ${JSON.stringify(result)}`)
  }
}

/** All queues of the guests at these sockets. */
export async function atomicGuests(
  t: Teardown,
  sockets: readonly string[],
  o: InitiatorOptions & { readonly queues: number },
): Promise<AtomicGuest[]> {
  const guests: AtomicGuest[] = []
  for (const socket of sockets) {
    const initiator = await Initiator.connect(socket, o)
    t.teardown(() => initiator.close())
    await initiator.ready(0, 0)
    for (let queue = 0; queue < o.queues; queue++) guests.push(new AtomicGuest(initiator, queue))
  }
  return guests
}

/**
 * Increments the counters of a block through COMPARE AND WRITE: the first one (of 32 bits) is everybody's, the one at 4 + 4 * own its
 * own.
 */
export class Incrementer {
  successes = 0
  attempts = 0
  readonly #guest: AtomicGuest
  readonly #lba: number
  readonly #own: number
  #before: Uint8Array | undefined

  constructor(guest: AtomicGuest, lba: number, own: number) {
    this.#guest = guest
    this.#lba = lba
    this.#own = own
  }

  async attempt(): Promise<void> {
    this.#before ??= await this.#guest.read(this.#lba)
    const after = this.#before.slice()
    const counters = new Uint32Array(after.buffer, after.byteOffset, BLOCK / 4)
    counters[0]!++
    counters[1 + this.#own]!++
    this.attempts++
    const written = await this.#guest.compares(this.#lba, this.#before, after)
    if (written) this.successes++
    this.#before = written ? after : undefined
  }
}

/** The counters of a block. */
export function countersOf(block: Uint8Array): Uint32Array {
  return new Uint32Array(block.slice().buffer)
}
