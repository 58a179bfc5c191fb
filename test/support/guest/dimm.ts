import { ReportedError } from '../deadline.js'
import type { Guest } from './guest.js'

const MIB = 2 ** 20
const UNPLUG = 60_000
const MEMORY = '/sys/devices/system/memory'

/** What is looked at in an entry of query-memory-devices (QEMU, qapi/machine.json). */
interface MemoryDevice {
  data: { id: string; addr: number; size: number }
}

/** A DIMM of a running guest, whose memory a vhost-user back end can map. The guest has slots for it (see QemuOptions). */
export class Dimm {
  readonly id: string
  /** Where the guest sees it. */
  readonly address: number
  readonly size: number
  readonly #guest: Guest

  private constructor(guest: Guest, { data: { id, addr, size } }: MemoryDevice) {
    this.#guest = guest
    this.id = id
    this.address = addr
    this.size = size
  }

  /** Plugs one in. The guest does not use it before `online`. */
  static async plug(guest: Guest, id: string, mebibytes: number): Promise<Dimm> {
    const { qmp } = guest
    const memdev = `${id}-memory`
    const size = mebibytes * MIB
    await qmp.execute('object-add', { 'qom-type': 'memory-backend-memfd', id: memdev, size, share: true })
    await qmp.execute('device_add', { driver: 'pc-dimm', id, memdev })
    const devices = await qmp.execute<MemoryDevice[]>('query-memory-devices')
    const device = devices.find(({ data }) => data.id === id)
    if (device === undefined) throw new Error(`no memory device ${id}`)
    return new Dimm(guest, device)
  }

  /**
   * Waits until the guest has seen it, after `plug` or after a boot, and has it use its memory for what can be moved
   * elsewhere: for that, such as the buffers of programs, it is then the first choice
   * (Documentation/admin-guide/mm/memory-hotplug.rst).
   */
  async online(): Promise<void> {
    await this.#guest.check(`
      size=$((0x$(cat ${MEMORY}/block_size_bytes)))
      for block in $(seq $((${this.address} / size)) $(((${this.address + this.size}) / size - 1))); do
        until [ -e ${MEMORY}/memory$block/state ]; do sleep 0.02; done
        echo online_movable > ${MEMORY}/memory$block/state
        [ "$(cat ${MEMORY}/memory$block/valid_zones)" = Movable ]
      done`)
  }

  /** Asks the guest to give it up, and takes it out when the guest has moved all that is in it elsewhere. */
  async unplug(): Promise<void> {
    const { qmp } = this.#guest
    await qmp.execute('device_del', { id: this.id })
    try {
      await qmp.event('DEVICE_DELETED', UNPLUG)
    } catch (error) {
      throw new ReportedError(`${this.id} stays: ${(error as Error).message}`, this.#guest.report())
    }
    await qmp.execute('object-del', { id: `${this.id}-memory` })
  }
}
