/** The front end's part of a live migration: it copies guest memory while the device writes to it, as QEMU does. */
import { createMemfd, Mapping, raw } from 'memfd-mmap'
import { featureMask, LOG_PAGE, VHOST_F, VRING_ADDRESS_F } from 'vhost-user-protocol-ts'
import type { Initiator } from './initiator.js'
import type { Queue } from './queue.js'
import type { SharedRegion } from './shared-memory.js'

const LOG_ALL = featureMask(VHOST_F.LOG_ALL)

/** A dirty log in a memfd. */
class LogFile {
  readonly size: number
  readonly offset: number
  readonly fd: number
  readonly #mapping: Mapping
  readonly #words: Int32Array

  constructor(size: number, offset: number) {
    this.size = size
    this.offset = offset
    this.fd = createMemfd('vhost-log', offset + size)
    this.#mapping = Mapping.map({ fd: this.fd, length: offset + size })
    this.#words = new Int32Array(this.#mapping.view(offset, size))
  }

  /** Takes the pages that are marked. */
  *take(): Iterable<number> {
    for (let i = 0; i < this.#words.length; i++) {
      const word = Atomics.exchange(this.#words, i, 0)
      for (let bit = 0; bit < 32; bit++) if ((word & (1 << bit)) !== 0) yield 32 * i + bit
    }
  }

  close(): void {
    raw.close(this.fd)
    this.#mapping.retire()
  }
}

export class Migration {
  /** Pages that were marked, by number. */
  readonly marked = new Set<number>()
  readonly #initiator: Initiator
  readonly #copies: readonly Uint8Array[]
  #log: LogFile | undefined

  constructor(initiator: Initiator) {
    this.#initiator = initiator
    this.#copies = initiator.memory.regions.map(({ size }) => new Uint8Array(size))
  }

  get #regions(): readonly SharedRegion[] {
    return this.#initiator.memory.regions
  }

  /** Bytes of a log that has a bit for all of guest memory. */
  get logSize(): number {
    const end = Math.max(...this.#regions.map(({ guestAddress, size }) => guestAddress + size))
    return 8 * Math.ceil(end / LOG_PAGE / 64)
  }

  /** SET_LOG_BASE with a new log; takes what the old one has afterwards, when the device must not use it any more. */
  async replaceLog(size = this.logSize, offset = 0): Promise<void> {
    const old = this.#log
    this.#log = new LogFile(size, offset)
    await this.#initiator.frontEnd.setLogBase(this.#log)
    if (old === undefined) return
    this.#take(old)
    old.close()
  }

  /** Has the device log, or not any more, in QEMU's order: the feature, then each ring. */
  async setLogging(enabled: boolean, flags: number = enabled ? VRING_ADDRESS_F.LOG : 0): Promise<void> {
    const { frontEnd, negotiated, queues } = this.#initiator
    await frontEnd.setFeatures(enabled ? negotiated.features | LOG_ALL : negotiated.features & ~LOG_ALL)
    for (const queue of queues) await this.#setAddress(queue, flags)
    await frontEnd.barrier()
  }

  async #setAddress({ index, driver }: Queue, flags: number): Promise<void> {
    const { frontEnd, memory } = this.#initiator
    await frontEnd.setVringAddr({
      index,
      flags,
      desc: memory.userAddress(driver.descAddress),
      avail: memory.userAddress(driver.availAddress),
      used: memory.userAddress(driver.usedAddress),
      log: flags === 0 ? 0 : driver.usedAddress,
    })
  }

  /** Copies all of memory. */
  copyAll(): void {
    this.#regions.forEach(({ buffer }, i) => {
      this.#copies[i]!.set(new Uint8Array(buffer))
    })
  }

  /** Copies the pages of guest memory [address, address + length), which the driver has written to. */
  copy(address: number, length: number): void {
    for (let page = Math.floor(address / LOG_PAGE); page * LOG_PAGE < address + length; page++)
      this.#copyPage(page * LOG_PAGE)
  }

  /** Copies what was marked since the last time; how many pages. */
  collect(): number {
    return this.#take(this.#log!)
  }

  #take(log: LogFile): number {
    let pages = 0
    for (const page of log.take()) {
      pages++
      this.marked.add(page)
      this.#copyPage(page * LOG_PAGE)
    }
    return pages
  }

  #copyPage(address: number): void {
    const i = this.#regions.findIndex(
      ({ guestAddress, size }) => address >= guestAddress && address < guestAddress + size,
    )
    if (i < 0) throw new Error(`a page at 0x${address.toString(16)} is marked, where there is no memory`)
    const { buffer, guestAddress } = this.#regions[i]!
    const at = address - guestAddress
    this.#copies[i]!.set(new Uint8Array(buffer, at, LOG_PAGE), at)
  }

  /** Pages, by number, in which the copy of guest memory [address, address + length) is not as the memory. In one region. */
  differences(address: number, length: number): number[] {
    const i = this.#regions.findIndex(
      ({ guestAddress, size }) => address >= guestAddress && address < guestAddress + size,
    )
    const { buffer, guestAddress } = this.#regions[i]!
    const found: number[] = []
    for (let at = address; at < address + length; at = LOG_PAGE * (Math.floor(at / LOG_PAGE) + 1)) {
      const end = Math.min(LOG_PAGE * (Math.floor(at / LOG_PAGE) + 1), address + length)
      const memory = new Uint8Array(buffer, at - guestAddress, end - at)
      const copy = this.#copies[i]!.subarray(at - guestAddress, end - guestAddress)
      if (Buffer.compare(memory, copy) !== 0) found.push(Math.floor(at / LOG_PAGE))
    }
    return found
  }

  close(): void {
    this.#log?.close()
    this.#log = undefined
  }
}
