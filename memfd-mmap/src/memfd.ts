import { check, ERRNO } from './errno.js'
import { declare, result } from './libc.js'
import { close, fcntl, ftruncate } from './raw.js'

const memfdCreate = declare('memfd_create', 'int', ['str', 'uint'])

const MFD_CLOEXEC = 1
const MFD_ALLOW_SEALING = 2
const MFD_HUGETLB = 4
const MFD_HUGE_2MB = 21 << 26
const F_ADD_SEALS = 1033
const F_GET_SEALS = 1034

export const F_SEAL_SEAL = 0x1
export const F_SEAL_SHRINK = 0x2
export const F_SEAL_GROW = 0x4
export const F_SEAL_WRITE = 0x8
export const F_SEAL_FUTURE_WRITE = 0x10

/**
 * A descriptor of `size` bytes of zeroed memory, close-on-exec, sealable; `name` shows in /proc/PID/maps. Seals are
 * put on after sizing.
 */
export function createMemfd(name: string, size: number, seals = 0): number {
  return create(name, size, seals, MFD_CLOEXEC | MFD_ALLOW_SEALING)
}

/**
 * The same in huge pages of 2 MiB, which `size` is a multiple of. The pages are taken from those that the machine has set aside: when
 * it is mapped (ENOMEM if there are not enough).
 */
export function createHugeMemfd(name: string, size: number, seals = 0): number {
  return create(name, size, seals, MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_HUGETLB | MFD_HUGE_2MB)
}

function create(name: string, size: number, seals: number, flags: number): number {
  if (!Number.isSafeInteger(size) || size < 0) throw new RangeError(`a memfd of ${size} bytes`)
  const fd = check(result(memfdCreate(name, flags)), 'memfd_create')
  try {
    check(ftruncate(fd, size), 'ftruncate')
    if (seals !== 0) addSeals(fd, seals)
  } catch (error) {
    close(fd)
    throw error
  }
  return fd
}

/**
 * Adds F_SEAL_* bits; they never come off again. EPERM once F_SEAL_SEAL is set, EBUSY for F_SEAL_WRITE under a
 * writable mapping.
 */
export function addSeals(fd: number, seals: number): void {
  check(fcntl(fd, F_ADD_SEALS, seals), 'fcntl(F_ADD_SEALS)')
}

/** The F_SEAL_* bits; -1 for a file that has none (not a memfd or on tmpfs). */
export function getSeals(fd: number): number {
  const seals = fcntl(fd, F_GET_SEALS, 0)
  return seals === -ERRNO.EINVAL ? -1 : check(seals, 'fcntl(F_GET_SEALS)')
}
