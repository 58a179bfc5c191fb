import type { DriverAllocation, DriverMemory } from 'vhost-user-protocol-ts'

/** Guest memory that can be given back: pieces are rounded up to a power of two and kept by size. */
export class Arena {
  readonly #memory: DriverMemory
  readonly #region: number
  readonly #free = new Map<number, DriverAllocation[]>()

  constructor(memory: DriverMemory, region: number) {
    this.#memory = memory
    this.#region = region
  }

  /**
   * Zeroed memory of at least `length` bytes; its `length` is as asked for. Pieces of a page and more are
   * page-aligned.
   */
  take(length: number): DriverAllocation {
    const size = 2 ** Math.max(6, Math.ceil(Math.log2(Math.max(1, length))))
    const piece = this.#free.get(size)?.pop() ?? this.#memory.allocate(size, Math.min(size, 4096), this.#region)
    bytesOf(piece).fill(0)
    return { ...piece, length }
  }

  give(piece: DriverAllocation): void {
    const size = 2 ** Math.max(6, Math.ceil(Math.log2(Math.max(1, piece.length))))
    const list = this.#free.get(size)
    if (list === undefined) this.#free.set(size, [{ ...piece, length: size }])
    else list.push({ ...piece, length: size })
  }
}

/** The bytes of an allocation. */
export function bytesOf(piece: DriverAllocation): Uint8Array {
  return new Uint8Array(piece.buffer, piece.byteOffset, piece.length)
}
