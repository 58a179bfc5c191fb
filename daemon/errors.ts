/**
 * A fault that keeps the daemon from starting: bad usage, bad configuration, or a socket, image or port that cannot be
 * had. It ends the process with exit status 2 and its message as the one line on stderr.
 */
export class StartError extends Error {
  /** Stable: `VUS_...` for the daemon's own faults, an errno name for the system's. */
  readonly code: string

  constructor(code: string, message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'StartError'
    this.code = code
  }
}

/** The command line cannot be understood. */
export class UsageError extends StartError {
  constructor(message: string) {
    super('VUS_USAGE', message)
    this.name = 'UsageError'
  }
}

/** The configuration is at fault: each fault says where, what, and what was expected. */
export class ConfigError extends StartError {
  /** Never empty. The message is the first of them and how many more there are. */
  readonly faults: readonly string[]

  constructor(faults: readonly string[]) {
    const rest = faults.length - 1
    super('VUS_CONFIG', rest > 0 ? `${faults[0]} (and ${rest} more fault${rest > 1 ? 's' : ''})` : `${faults[0]}`)
    this.name = 'ConfigError'
    this.faults = faults
  }
}

/** What went wrong with a file, socket or port, for people; the errno name where no better words are known. */
const ERRNO_TEXT: Readonly<Record<string, string>> = {
  EACCES: 'permission denied',
  EADDRINUSE: 'address already in use',
  EADDRNOTAVAIL: 'no such address on this host',
  EBADF: 'not an open descriptor',
  EBUSY: 'busy',
  EISDIR: 'is a directory',
  ELOOP: 'too many levels of symbolic links',
  EMFILE: 'too many open files',
  ENAMETOOLONG: 'name too long',
  ENODEV: 'no such device',
  ENOENT: 'no such file or directory',
  ENOMEM: 'out of memory',
  ENOSPC: 'no space left on device',
  ENOTDIR: 'a part of the path is not a directory',
  ENOTFOUND: 'no such host',
  EPERM: 'operation not permitted',
  EROFS: 'read-only file system',
}

/** The stable code of any thrown value: its `code` if it is a string, else the fallback. */
export function errorCode(error: unknown, fallback = 'VUS_INTERNAL'): string {
  const code = (error as { code?: unknown } | null)?.code
  return typeof code === 'string' ? code : fallback
}

/** The reason of a system error in a few words, without the path and system call that Node puts around it. */
export function errorReason(error: unknown): string {
  const code = errorCode(error, '')
  return ERRNO_TEXT[code] ?? (code || (error instanceof Error ? error.message : String(error)))
}

/** Text as one printable line: control characters are escaped, so that no path or message can forge a second line. */
export function oneLine(text: string): string {
  return text.replace(/[\p{Cc}\p{Zl}\p{Zp}]/gu, (c) => {
    if (c === '\n') return '\\n'
    if (c === '\t') return '\\t'
    return `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`
  })
}
