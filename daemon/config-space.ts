/** The device's configuration (virtio 1.3 5.6.4), for front ends that leave it to the back end (crosvm, Cloud Hypervisor). QEMU keeps its own. */
import { CDB_SIZE, CONFIG, EVENT, SENSE_SIZE } from 'vhost-user-protocol-ts'

/** What QEMU announces, so that a guest sees the same disk behind any VMM. */
const DEFAULTS = { SEG_MAX: 126, MAX_SECTORS: 65535, CMD_PER_LUN: 128, MAX_TARGET: 255, MAX_LUN: 16383 } as const

export class ConfigSpace {
  readonly #bytes = new Uint8Array(CONFIG.SIZE)

  constructor(numQueues: number) {
    const view = new DataView(this.#bytes.buffer)
    view.setUint32(CONFIG.NUM_QUEUES, numQueues, true)
    view.setUint32(CONFIG.SEG_MAX, DEFAULTS.SEG_MAX, true)
    view.setUint32(CONFIG.MAX_SECTORS, DEFAULTS.MAX_SECTORS, true)
    view.setUint32(CONFIG.CMD_PER_LUN, DEFAULTS.CMD_PER_LUN, true)
    view.setUint32(CONFIG.EVENT_INFO_SIZE, EVENT.SIZE, true)
    view.setUint32(CONFIG.SENSE_SIZE, SENSE_SIZE, true)
    view.setUint32(CONFIG.CDB_SIZE, CDB_SIZE, true)
    view.setUint16(CONFIG.MAX_CHANNEL, 0, true)
    view.setUint16(CONFIG.MAX_TARGET, DEFAULTS.MAX_TARGET, true)
    view.setUint32(CONFIG.MAX_LUN, DEFAULTS.MAX_LUN, true)
  }

  /** `size` bytes from `offset`; undefined beyond the end. */
  read(offset: number, size: number): Uint8Array | undefined {
    return offset + size <= CONFIG.SIZE ? this.#bytes.slice(offset, offset + size) : undefined
  }

  /** Whether a write is acceptable: one that leaves sense_size and cdb_size, the two writable fields, as they are. */
  accepts(offset: number, bytes: Uint8Array): boolean {
    const inside = offset >= CONFIG.SENSE_SIZE && offset + bytes.length <= CONFIG.CDB_SIZE + 4
    return inside && bytes.every((byte, i) => byte === this.#bytes[offset + i])
  }
}
