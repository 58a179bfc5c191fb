import { Mapping } from 'memfd-mmap'

/** Bytes of one bounce buffer. */
export const BOUNCE_BYTES = 2 ** 18

/** Buffers that an IOThread has at most: 32 MiB, whatever its guests ask for at once. */
const MOST = 128

export interface Bounce {
  readonly address: number
  readonly bytes: Uint8Array
}

/** Private buffers of one IOThread, for operations that cannot use the guest's. Kept for reuse. */
export class BouncePool {
  readonly #mappings: Mapping[] = []
  readonly #free: Bounce[] = []

  /** A buffer, or undefined when all that there may be are in use. */
  take(): Bounce | undefined {
    const free = this.#free.pop()
    if (free !== undefined || this.#mappings.length === MOST) return free
    const mapping = Mapping.anonymous(BOUNCE_BYTES)
    this.#mappings.push(mapping)
    return { address: mapping.address, bytes: new Uint8Array(mapping.view()) }
  }

  give(bounce: Bounce): void {
    this.#free.push(bounce)
  }

  /** Unmaps all. None is in use. */
  release(): void {
    this.#free.length = 0
    for (const mapping of this.#mappings) mapping.unmap()
    this.#mappings.length = 0
  }
}
