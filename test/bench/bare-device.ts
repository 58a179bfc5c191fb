import { CMD_REQUEST, CMD_RESPONSE, DESC_F, type SplitDriver } from 'vhost-user-protocol-ts'

/**
 * The plainest device that still does what a null LUN has to do: it trusts the driver, knows one memory region and one
 * queue, and neither checks nor decodes more than it must. What this reaches, a real device in the same language
 * can come near to, not exceed.
 */
export class BareDevice {
  /** Sum over what was read of the requests, so that reading them is not optimised away. */
  checksum = 0
  /** All of memory as words, for descriptors, and the word at which the table starts. */
  readonly #words: Uint32Array
  readonly #table: number
  readonly #avail: Uint16Array
  readonly #used16: Uint16Array
  readonly #used32: Uint32Array
  readonly #memory: DataView
  readonly #base: number
  readonly #mask: number
  #next = 0
  #used = 0

  /** `buffer` is guest memory from guest-physical address `base` on, below 2^32; `ring` says where the ring is. */
  constructor(
    buffer: ArrayBufferLike,
    base: number,
    ring: Pick<SplitDriver, 'size' | 'descAddress' | 'availAddress' | 'usedAddress'>,
  ) {
    this.#words = new Uint32Array(buffer)
    this.#table = (ring.descAddress - base) / 4
    this.#avail = new Uint16Array(buffer, ring.availAddress - base, ring.size + 3)
    this.#used16 = new Uint16Array(buffer, ring.usedAddress - base, 2)
    this.#used32 = new Uint32Array(buffer, ring.usedAddress - base, ring.size * 2 + 1)
    this.#memory = new DataView(buffer)
    this.#base = base
    this.#mask = ring.size - 1
    // The driver polls: it need not be told, and it need not tell.
    Atomics.store(this.#used16, 0, 1)
  }

  /** Completes everything that is available and publishes it once. Returns how many. */
  turn(): number {
    const avail = this.#avail
    const end = Atomics.load(avail, 1)
    let next = this.#next
    if (next === end) return 0
    const words = this.#words
    const table = this.#table
    const used32 = this.#used32
    const memory = this.#memory
    const mask = this.#mask
    const base = this.#base
    let used = this.#used
    let sum = this.checksum
    while (next !== end) {
      const head = avail[2 + (next & mask)]!
      next = (next + 1) & 0xffff
      let from = table
      let at = from + head * 4
      if ((words[at + 3]! & DESC_F.INDIRECT) !== 0) at = from = (words[at]! - base) / 4
      const request = words[at]! - base
      sum = (sum + memory.getUint32(request + CMD_REQUEST.LUN, true) + memory.getUint8(request + CMD_REQUEST.CDB)) | 0
      sum = (sum + memory.getUint32(request + CMD_REQUEST.CDB + 2)) | 0
      // The response is the first writable descriptor for reads and the last for writes.
      let response = 0
      let data = 0
      while ((words[at + 3]! & DESC_F.NEXT) !== 0) {
        at = from + (words[at + 3]! >>> 16) * 4
        if (words[at + 2] === CMD_RESPONSE.SIZE) response = words[at]! - base
        else data += words[at + 2]!
      }
      memory.setUint32(response + CMD_RESPONSE.SENSE_LEN, 0, true)
      memory.setUint32(response + CMD_RESPONSE.RESIDUAL, 0, true)
      memory.setUint32(response + CMD_RESPONSE.STATUS_QUALIFIER, 0, true)
      const entry = 1 + 2 * (used & mask)
      used32[entry] = head
      used32[entry + 1] = CMD_RESPONSE.SIZE + data
      used = (used + 1) & 0xffff
    }
    const count = (next - this.#next) & 0xffff
    this.checksum = sum
    this.#next = next
    this.#used = used
    Atomics.store(this.#used16, 1, used)
    return count
  }
}
