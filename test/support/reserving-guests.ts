import type { Test } from 'tap'
import { RESERVE_OUT } from '../../scsi/index.js'
import { type ListFields, outList } from '../scsi/support/reservations.js'
import type { Daemon } from './daemon.js'
import { Initiator } from './vhost/initiator.js'

const PATIENCE = 30_000
export const BLOCK = 512

/** A guest that reserves a LUN of target 0. */
export class ReservingGuest {
  readonly initiator: Initiator
  readonly #lun: number

  constructor(initiator: Initiator, lun = 0) {
    this.initiator = initiator
    this.#lun = lun
  }

  /** @param settled false: what unit attentions there are stays for the test */
  static async connect(t: Test, daemon: Daemon, settled = true, luns = [0]): Promise<ReservingGuest> {
    const initiator = await Initiator.connect(daemon.socketPath, { queues: 2, deadline: PATIENCE })
    t.teardown(() => initiator.close())
    if (settled) for (const lun of luns) await initiator.ready(0, lun)
    return new ReservingGuest(initiator)
  }

  /** The status of a PERSISTENT RESERVE OUT, by the name of its service action; or sense as ASC and ASCQ. */
  async out(
    name: keyof typeof RESERVE_OUT,
    fields: ListFields | Uint8Array<ArrayBuffer>,
    type = 0,
  ): Promise<number | number[]> {
    const dataOut = fields instanceof Uint8Array ? fields : outList(fields)
    const cdb = [0x5f, RESERVE_OUT[name], type, 0, 0, 0, 0, dataOut.length >> 8, dataOut.length & 255, 0]
    const { status, sense } = await this.initiator.scsi({ cdb, target: 0, lun: this.#lun, dataOut })
    return status === 2 ? [sense[12]!, sense[13]!] : status
  }

  /** Data of PERSISTENT RESERVE IN. */
  async in(action: number): Promise<Uint8Array> {
    const cdb = [0x5e, action, 0, 0, 0, 0, 0, 0x10, 0, 0]
    return (await this.initiator.scsi({ cdb, target: 0, lun: this.#lun, dataIn: 4096 })).data
  }

  /** The reservation: key of the holder and type; undefined: there is none. */
  async reservation(): Promise<readonly [number, number] | undefined> {
    const data = await this.in(1)
    return data[7] === 0 ? undefined : [data[15]!, data[21]! & 15]
  }

  /** The registered keys, small numbers. */
  async keys(): Promise<number[]> {
    const data = await this.in(0)
    return Array.from({ length: data[7]! / 8 }, (_, i) => data[15 + 8 * i]!)
  }

  read(queue = 0) {
    const cdb = [0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0]
    return this.initiator.scsi({ cdb, target: 0, lun: this.#lun, dataIn: BLOCK }, { queue })
  }

  write(queue = 0) {
    const cdb = [0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0]
    return this.initiator.scsi({ cdb, target: 0, lun: this.#lun, dataOut: new Uint8Array(BLOCK) }, { queue })
  }

  /** Status of a read and of a write, on both queues. */
  async access(): Promise<number[]> {
    const [reads, writes] = [
      [await this.read(0), await this.read(1)],
      [await this.write(0), await this.write(1)],
    ]
    return [...reads, ...writes].map(({ status }) => status)
  }

  /** What TEST UNIT READY tells: ASC and ASCQ; undefined: nothing. */
  async attention(): Promise<number[] | undefined> {
    const { status, sense } = await this.initiator.scsi({ cdb: [0, 0, 0, 0, 0, 0], target: 0, lun: this.#lun })
    return status === 0 ? undefined : [sense[12]!, sense[13]!]
  }
}
