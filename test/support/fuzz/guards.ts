import { Mapping, raw } from 'memfd-mmap'

/** Unmapped bytes on either side. */
export const GUARD = 2 ** 20
const PAGE = 4096

const CALLS: Readonly<Record<string, { mmap: number; munmap: number; mremap: number }>> = {
  x64: { mmap: 9, munmap: 11, mremap: 25 },
  arm64: { mmap: 222, munmap: 215, mremap: 216 },
}
const PROT_NONE = 0
const MAP_PRIVATE = 0x02
const MAP_ANONYMOUS = 0x20
const MAP_32BIT = 0x40
const MAP_NORESERVE = 0x4000
const RESERVE = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE
const MREMAP_MAYMOVE = 1
const MREMAP_FIXED = 2

const pages = (length: number): number => Math.ceil(length / PAGE) * PAGE

/**
 * Has Mapping.map of this thread put unmapped pages before and behind all that it maps from now on: an access beyond its ends
 * is then a segmentation fault, not a hit on the neighbour (and EFAULT for the kernel).
 */
export function installGuards(): void {
  const calls = CALLS[process.arch]
  if (calls === undefined) throw new Error(`no system call numbers for ${process.arch}`)
  const reserve = (length: number, low: boolean): number => {
    const at = low ? raw.syscall(calls.mmap, 0, length, PROT_NONE, RESERVE | MAP_32BIT, -1, 0) : -1
    return at >= 0 ? at : raw.syscall(calls.mmap, 0, length, PROT_NONE, RESERVE, -1, 0)
  }
  const map = Mapping.map
  const unmap = Mapping.prototype.unmap
  const guarded = new Set<Mapping>()
  Mapping.map = (options) => {
    const mapping = map.call(Mapping, options)
    const length = pages(mapping.length)
    const start = reserve(length + 2 * GUARD, mapping.address < 2 ** 31)
    if (start < 0) return mapping
    const flags = MREMAP_MAYMOVE | MREMAP_FIXED
    const moved = raw.syscall(calls.mremap, mapping.address, length, length, flags, start + GUARD)
    if (moved < 0) throw new Error(`mremap: ${moved}`)
    Object.defineProperty(mapping, 'address', { value: moved })
    guarded.add(mapping)
    return mapping
  }
  Mapping.prototype.unmap = function (this: Mapping): void {
    unmap.call(this)
    if (!guarded.delete(this)) return
    raw.syscall(calls.munmap, this.address - GUARD, GUARD)
    raw.syscall(calls.munmap, this.address + pages(this.length), GUARD)
  }
}
