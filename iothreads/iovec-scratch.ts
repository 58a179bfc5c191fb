import { Mapping } from 'memfd-mmap'

/** One struct iovec in native memory, for calls that take only vectors. */
export class IovecScratch {
  readonly #memory = Mapping.anonymous(4096)
  readonly #words = new Uint32Array(this.#memory.view(0, 16))

  /** Points the iovec at `length` bytes at `address`, and answers the iovec's own address. */
  point(address: number, length: number): number {
    this.#words[0] = address
    this.#words[1] = address / 2 ** 32
    this.#words[2] = length
    this.#words[3] = 0
    return this.#memory.address
  }

  release(): void {
    this.#memory.unmap()
  }
}
