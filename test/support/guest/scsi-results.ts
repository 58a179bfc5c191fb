import type { Guest } from './guest.js'

/** A result that a SCSI host has given a command in Linux: DID_RESET (8) as the host byte, include/scsi/scsi_status.h. */
export const DID_RESET = 8 << 16

const TRACING = '/sys/kernel/tracing'
const EVENT = `${TRACING}/events/scsi/scsi_dispatch_cmd_done`
const KEYS = 'hist:keys=id,lun,result'

/**
 * How SCSI commands end in a guest that has one SCSI host, counted by its kernel (Documentation/trace/histogram.rst) where
 * the low-level driver hands them back: before the SCSI layer decides about retries.
 */
export class CommandResults {
  readonly #guest: Guest

  private constructor(guest: Guest) {
    this.#guest = guest
  }

  static async start(guest: Guest): Promise<CommandResults> {
    await guest.check(`[ -d ${TRACING}/events ] || mount -t tracefs trace ${TRACING}\necho ${KEYS} > ${EVENT}/trigger`)
    return new CommandResults(guest)
  }

  /** The numbers of commands to a disk (`sda`) since the start, by result: the host byte from bit 16, the SCSI status below. */
  async of(disk: string): Promise<Map<number, number>> {
    const address = (await this.#guest.check(`basename $(readlink /sys/block/${disk}/device)`)).trim()
    const results = new Map<number, number>()
    for (const line of (await this.#guest.check(`cat ${EVENT}/hist`)).split('\n')) {
      const fields = Object.fromEntries(
        [...line.matchAll(/(\w+): +(\d+)/g)].map(([, name, value]) => [name!, Number(value)]),
      )
      if (fields.hitcount === undefined || fields.result === undefined) continue
      if (`0:0:${fields.id}:${fields.lun}` !== address) continue
      results.set(fields.result, (results.get(fields.result) ?? 0) + fields.hitcount)
    }
    return results
  }

  async stop(): Promise<void> {
    await this.#guest.check(`echo '!${KEYS}' > ${EVENT}/trigger`)
  }
}
