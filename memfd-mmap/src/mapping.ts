import koffi from 'koffi'
import { check, SystemError } from './errno.js'
import { filePageSize } from './file.js'
import { declare, result } from './libc.js'

const mmap = declare('mmap', 'long', ['long', 'size_t', 'int', 'int', 'int', 'long'])
const munmap = declare('munmap', 'int', ['long', 'size_t'])

const PROT_READ = 1
const PROT_WRITE = 2
const MAP_SHARED = 0x01
const MAP_PRIVATE = 0x02
const MAP_FIXED = 0x10
const MAP_ANONYMOUS = 0x20
/** Below 2^31 (x86-64 only). */
const MAP_32BIT = 0x40
const MAP_NORESERVE = 0x4000

/** Longest view in bytes. Node 20 aborts, uncatchably, on an ArrayBuffer of more than 4 GiB. */
export const MAX_VIEW = 2 ** 30

/** What Mapping.view() throws after retire() or unmap(). */
export class UnmappedError extends Error {
  override readonly name = 'UnmappedError'
  readonly code = 'VUS_UNMAPPED'
}

function isSize(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 0
}

/**
 * An ArrayBuffer over memory that is mapped at `address`, at most MAX_VIEW bytes. Neither garbage collection nor the
 * end of a worker unmaps anything; the memory has to stay mapped for as long as the view can be reached. Costs tens of
 * microseconds: once per region, never per request. Several views of the same memory, in any thread, are fine.
 */
export function viewMemory(address: number, length: number): ArrayBuffer {
  if (!isSize(length) || length > MAX_VIEW)
    throw new RangeError(`a view of ${length} bytes; at most ${MAX_VIEW} are possible`)
  if (!isSize(address) || address === 0) throw new RangeError(`a view of address ${address}`)
  return koffi.view(address, length)
}

export interface MapOptions {
  fd: number
  /** Where in the file, a multiple of the page size of the file (filePageSize). Default 0. */
  offset?: number
  length: number
  /** Default true. */
  writable?: boolean
  /** Default true; false gives a private copy-on-write mapping. */
  shared?: boolean
  /**
   * Below 2^31 where there is room (x86-64). Such an address is a small integer to V8: passing it to a raw function makes no heap
   * number, where any other address costs 16 bytes a call.
   */
  low?: boolean
}

/**
 * One mmap(2)ed range of addresses. Descriptors may be closed once it exists. Not for use by several threads: hand
 * them the numbers.
 */
export class Mapping {
  readonly address: number
  readonly length: number
  /** What munmap(2) takes: huge pages are mapped as a whole, but it does not round. */
  readonly #mapped: number
  #state: 'mapped' | 'retired' | 'unmapped' = 'mapped'
  #views = 0

  private constructor(length: number, protection: number, flags: number, fd: number, offset: number) {
    if (!isSize(length) || length === 0) throw new RangeError(`a mapping of ${length} bytes`)
    if (!isSize(offset)) throw new RangeError(`a mapping at file offset ${offset}`)
    this.address = check(result(mmap(0, length, protection, flags, fd, offset)), 'mmap')
    this.length = length
    const page = fd < 0 ? 1 : filePageSize(fd)
    this.#mapped = Math.ceil(length / page) * page
  }

  /** Maps part of a file or memfd, readable, and by default shared and writable. */
  static map(options: MapOptions): Mapping {
    const { fd, offset = 0, length, writable = true, shared = true, low = false } = options
    const protection = writable ? PROT_READ | PROT_WRITE : PROT_READ
    const flags = shared ? MAP_SHARED : MAP_PRIVATE
    if (low && process.arch === 'x64') {
      try {
        return new Mapping(length, protection, flags | MAP_32BIT, fd, offset)
      } catch (error) {
        if (!(error instanceof SystemError && error.code === 'ENOMEM')) throw error
      }
    }
    return new Mapping(length, protection, flags, fd, offset)
  }

  /** Private zeroed memory without a file; pages are taken when touched. */
  static anonymous(length: number): Mapping {
    return new Mapping(length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
  }

  /** How many views this object has handed out. */
  get views(): number {
    return this.#views
  }

  /**
   * A view of a part, by default of the whole, of at most MAX_VIEW bytes. RangeError outside the mapping,
   * UnmappedError when it is gone.
   */
  view(offset = 0, length = this.length - offset): ArrayBuffer {
    if (this.#state !== 'mapped') throw new UnmappedError(`the mapping is ${this.#state}`)
    if (!isSize(offset) || !isSize(length) || offset + length > this.length) {
      throw new RangeError(`a view of ${length} bytes at ${offset} in a mapping of ${this.length}`)
    }
    const view = viewMemory(this.address + offset, length)
    this.#views++
    return view
  }

  /**
   * Puts anonymous zero pages in place of what was mapped, at the same addresses. Views that are still reachable and
   * I/O that is still in flight then hit zeros, never a fault; the file is let go. Idempotent. The addresses stay
   * taken until unmap().
   */
  retire(): void {
    if (this.#state !== 'mapped') return
    const flags = MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE
    const address = mmap(this.address, this.#mapped, PROT_READ | PROT_WRITE, flags, -1, 0)
    check(result(address), 'mmap')
    this.#state = 'retired'
  }

  /**
   * munmap(2). The caller vouches that no view of it, of any thread, is reachable: touching one is a segmentation
   * fault. Idempotent.
   */
  unmap(): void {
    if (this.#state === 'unmapped') return
    check(result(munmap(this.address, this.#mapped)), 'munmap')
    this.#state = 'unmapped'
  }
}
