import type { constants } from 'node:os'
import koffi from 'koffi'

type MoreNames = 'EBADE' | 'EMEDIUMTYPE' | 'ENOMEDIUM' | 'EREMOTEIO' | 'ESHUTDOWN' | 'EUCLEAN'

/** Positive errno values by name, those of the running system (EAGAIN: 11, ...). */
export const ERRNO = koffi.os.errno as Readonly<typeof constants.errno & Record<MoreNames, number>>

const ALIASES = new Set(['EWOULDBLOCK', 'EDEADLOCK', 'ENOTSUP'])
const names = new Map<number, string>()
for (const [name, value] of Object.entries(koffi.os.errno)) {
  if (!ALIASES.has(name)) names.set(value, name)
}

/** Name of a positive errno, 'EINVAL' for 22; 'E' and the number for one that has no name. */
export function errnoName(errno: number): string {
  return names.get(errno) ?? `E${errno}`
}

/** A system call that failed: `code` is the errno's name, `errno` the positive number, `syscall` the call's name. */
export class SystemError extends Error {
  override readonly name = 'SystemError'
  readonly code: string
  readonly errno: number
  readonly syscall: string

  /** `errno` may be given with either sign; `detail` ends up in the message only. */
  constructor(syscall: string, errno: number, detail?: string) {
    const positive = Math.abs(errno)
    const code = errnoName(positive)
    super(detail === undefined ? `${syscall}: ${code}` : `${syscall}: ${code}: ${detail}`)
    this.code = code
    this.errno = positive
    this.syscall = syscall
  }
}

/** Passes a result >= 0 on; throws SystemError for -errno. */
export function check(result: number, syscall: string, detail?: string): number {
  if (result < 0) throw new SystemError(syscall, result, detail)
  return result
}
