/** The front end's memory as this process maps it. The main thread maps and unmaps; IOThreads get the addresses. */
import { F_SEAL_SHRINK, filePageSize, fileSize, getSeals, Mapping } from 'memfd-mmap'
import { DeviceError, GuestMemory, type MappedRegion, type MemoryRegion } from 'vhost-user-protocol-ts'
import { errorReason } from './errors.js'

interface Entry {
  readonly region: MappedRegion
  readonly mapping: Mapping
}

export class GuestMemoryTable {
  #entries: readonly Entry[] = []
  readonly #low: boolean
  /** The main thread's own view of it. */
  memory = new GuestMemory([])

  /** @param low map below 2^31 where there is room: for copies by the IOThreads (see Mapping) */
  constructor(low = false) {
    this.#low = low
  }

  get regions(): readonly MappedRegion[] {
    return this.#entries.map(({ region }) => region)
  }

  /**
   * Maps a region. It is not in the table before `replace`.
   *
   * @throws DeviceError where the descriptor cannot be mapped or is shorter than the region
   */
  map(region: MemoryRegion, fd: number): Entry {
    const { guestAddress, size, userAddress, mmapOffset } = region
    const end = mmapOffset + size
    try {
      const bytes = fileSize(fd)
      if (bytes < end) {
        throw new DeviceError('VUS_REGION_FILE_SIZE', `a region needs ${end} bytes of its file, which has ${bytes}`)
      }
      // From the page on that it begins in: huge pages take no other offset than multiples of their size, and front ends need not
      // give one.
      const skipped = mmapOffset % filePageSize(fd)
      const mapping = Mapping.map({ fd, offset: mmapOffset - skipped, length: skipped + size, low: this.#low })
      return { region: { guestAddress, size, userAddress, hostAddress: mapping.address + skipped }, mapping }
    } catch (error) {
      if (error instanceof DeviceError) throw error
      throw new DeviceError('VUS_REGION_MAP', `a region of ${size} bytes cannot be mapped: ${errorReason(error)}`)
    }
  }

  /** Whether the front end can take pages of the file away under us. */
  static canShrink(fd: number): boolean {
    const seals = getSeals(fd)
    return seals < 0 || (seals & F_SEAL_SHRINK) === 0
  }

  find(region: MemoryRegion): Entry | undefined {
    return this.#entries.find(
      ({ region: { guestAddress, size, userAddress } }) =>
        guestAddress === region.guestAddress && size === region.size && userAddress === region.userAddress,
    )
  }

  with(entry: Entry): readonly Entry[] {
    return [...this.#entries, entry]
  }

  without(entry: Entry): readonly Entry[] {
    return this.#entries.filter((each) => each !== entry)
  }

  /** What a table of `entries` would translate by. */
  static memoryOf(entries: readonly Entry[]): GuestMemory {
    return new GuestMemory(entries.map(({ region }) => region))
  }

  /**
   * Makes `entries` the table, and `memory` (of these entries) the main thread's view of it. Answers the entries that
   * are no longer in it: they have to be unmapped by `unmap`, when no thread has views of them.
   */
  replace(entries: readonly Entry[], memory: GuestMemory): readonly Entry[] {
    const gone = this.#entries.filter((entry) => !entries.includes(entry))
    this.#entries = entries
    this.memory = memory
    return gone
  }

  /** Unmaps those of `entries` that did not get into the table. */
  discard(entries: readonly Entry[]): void {
    GuestMemoryTable.unmap(entries.filter((entry) => !this.#entries.includes(entry)))
  }

  static unmap(entries: readonly Entry[]): void {
    for (const { mapping } of entries) mapping.unmap()
  }
}

export type MemoryEntry = Entry
