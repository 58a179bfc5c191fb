/**
 * A listening Unix socket at a path that two daemons may want at once: a stale socket is replaced, a live one only by who
 * says so, and nothing is removed that somebody else has put there since.
 */
import { constants, fstatSync, linkSync, lstatSync, renameSync, type Stats, unlinkSync } from 'node:fs'
import { basename, dirname } from 'node:path'
import { close, connectUnix, listenUnix, lockRange, openFd, SUN_PATH_MAX, SystemError } from 'memfd-mmap'
import { errorCode, errorReason, StartError } from './errors.js'

export interface SocketOptions {
  /** Permission bits; absent: what the umask leaves. */
  readonly mode?: number | undefined
  readonly gid?: number | undefined
}

/** A way to come by a socket at a path. Throws StartError where it cannot be had. */
export type Bind = (path: string, options?: SocketOptions) => BoundSocket

/** Those to unlink at exit, whatever the way out. */
const bound = new Set<BoundSocket>()

function unlinkAll(): void {
  for (const socket of bound) socket.unlink()
}

export class BoundSocket {
  readonly path: string
  /** Non-blocking, close-on-exec, owned by whoever bound it. */
  readonly fd: number
  readonly #identity: Stats
  /** Another name of the socket that had the path before, while that can still have it back. */
  #kept: string | undefined

  private constructor(path: string, fd: number, kept?: string) {
    this.path = path
    this.fd = fd
    this.#identity = lstatSync(path)
    this.#kept = kept
    if (bound.size === 0) process.once('exit', unlinkAll)
    bound.add(this)
  }

  /** Binds and listens. Throws StartError: the path is in use, is no socket, cannot be had. */
  static bind(path: string, options: SocketOptions = {}): BoundSocket {
    return locked(path, () => {
      removeStaleSocket(path)
      removeLeftovers(path)
      return new BoundSocket(path, listenUnix(path, listenOptions(options)))
    })
  }

  /**
   * Takes a path from whoever has it: from one moment to the next it means this socket, and at no moment none. The other one,
   * be it live or stale, can have it back until `settle`: it gets it by `unlink`. Throws StartError: the path is no socket,
   * cannot be had, or somebody else has taken it meanwhile.
   *
   * @param expected what the path meant when the caller looked, see `socketAt`; absent: whatever it means now
   */
  static replace(path: string, options: SocketOptions = {}, expected?: Stats): BoundSocket {
    return locked(path, () => {
      removeLeftovers(path)
      const now = socketAt(path)
      if (expected !== undefined && (now === undefined || !isSame(now, expected)))
        throw new StartError('VUS_SOCKET_IN_USE', `${path}: another process has taken the socket meanwhile`)
      if (now === undefined) return new BoundSocket(path, listenUnix(path, listenOptions(options)))
      const fresh = `${path}${FRESH}`
      const kept = `${path}${KEPT}`
      const fd = withShortName(fresh, (name) => listenUnix(name, listenOptions(options)))
      try {
        linkSync(path, kept)
        renameSync(fresh, path)
        return new BoundSocket(path, fd, kept)
      } catch (error) {
        close(fd)
        removeLeftovers(path)
        throw error
      }
    })
  }

  /** Whether somebody listens on the socket that had the path before, and could have it back. */
  get isPreviousLive(): boolean {
    return this.#kept !== undefined && isLive(this.#kept)
  }

  /** From now on the socket that had the path before cannot have it back. */
  settle(): void {
    if (this.#kept !== undefined) unlinkIfAny(this.#kept)
    this.#kept = undefined
  }

  /**
   * Removes the path if it still is this socket, or gives it back to the one before; to be called while the descriptor is
   * open, so that nobody can take the path for stale in between. Idempotent; at the latest it happens when the process exits.
   */
  unlink(): void {
    if (!bound.delete(this)) return
    if (bound.size === 0) process.off('exit', unlinkAll)
    const lock = lockUnlessTaken(this.path)
    // Whoever takes the path at this moment finds a stale socket there, or has replaced it.
    if (lock === 'taken') return
    const now = lstatIfAny(this.path)
    const isOwn = now !== undefined && isSame(now, this.#identity)
    if (isOwn && this.#kept !== undefined) renameSync(this.#kept, this.path)
    else if (isOwn) unlinkIfAny(this.path)
    this.settle()
    lock?.release()
  }
}

/** Names beside a path while its socket is replaced: the new one before it has the path, the old one while it may get it back. */
const FRESH = '.new'
const KEPT = '.old'

/** What a killed process has left of a replacement. */
function removeLeftovers(path: string): void {
  for (const name of [`${path}${FRESH}`, `${path}${KEPT}`]) {
    if (lstatIfAny(name)?.isSocket() === true) unlinkIfAny(name)
  }
}

function listenOptions({ mode, gid }: SocketOptions): { mode?: number; gid?: number } {
  return { ...(mode !== undefined && { mode }), ...(gid !== undefined && { gid }) }
}

/** The socket that a path means; undefined: none. Throws StartError where it means something else. */
export function socketAt(path: string): Stats | undefined {
  const stats = lstatIfAny(path)
  if (stats === undefined || stats.isSocket()) return stats
  throw new StartError('VUS_SOCKET_PATH', `${path}: exists and is not a socket`)
}

/** Removes a socket that nobody listens on. */
function removeStaleSocket(path: string): void {
  if (socketAt(path) === undefined) return
  if (isLive(path)) throw new StartError('VUS_SOCKET_IN_USE', `${path}: the socket is in use by a live process`)
  unlinkIfAny(path)
}

/** Whether somebody listens on the socket of a path. Throws where that cannot be told. */
export function isLive(path: string): boolean {
  try {
    close(withShortName(path, connectUnix))
    return true
  } catch (error) {
    const code = errorCode(error)
    if (code === 'EAGAIN') return true
    if (code === 'ECONNREFUSED' || code === 'ENOENT') return false
    throw error
  }
}

/** Calls with a name of a path that fits a socket's address, if there is one: through the descriptor of its directory. */
function withShortName<T>(path: string, call: (name: string) => T): T {
  if (Buffer.byteLength(path) <= SUN_PATH_MAX) return call(path)
  const directory = openFd(dirname(path), constants.O_RDONLY | constants.O_DIRECTORY)
  try {
    return call(`/proc/self/fd/${directory}/${basename(path)}`)
  } finally {
    close(directory)
  }
}

/** Does something with a path while other daemons stay away from it. Throws StartError. */
function locked<T>(path: string, act: () => T): T {
  const lock = lockPath(path)
  try {
    return act()
  } catch (error) {
    throw startError(path, error)
  } finally {
    lock.release()
  }
}

/** The lock, or that somebody else has it; undefined: there can be none, and so nobody else has it. */
function lockUnlessTaken(path: string): { release(): void } | 'taken' | undefined {
  try {
    return lockPath(path)
  } catch (error) {
    return errorCode(error) === 'VUS_SOCKET_IN_USE' ? 'taken' : undefined
  }
}

/**
 * Keeps other daemons away from a path while it is looked at and bound: an exclusive lock on `<path>.lock`. The file is
 * removed before the lock is let go, so whoever gets the lock checks that it is on the file that the name means.
 */
function lockPath(path: string): { release(): void } {
  const file = `${path}.lock`
  try {
    for (;;) {
      const fd = openFd(file, constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW, 0o600)
      const status = lockRange(fd, 'exclusive', 0, 0)
      if (status < 0) {
        close(fd)
        const error = new SystemError('fcntl', status, file)
        if (error.code !== 'EAGAIN') throw error
        throw new StartError('VUS_SOCKET_IN_USE', `${path}: another process is taking the socket at this moment`)
      }
      const named = lstatIfAny(file)
      if (named !== undefined && isSame(named, fstatSync(fd))) {
        return {
          release() {
            unlinkIfAny(file)
            close(fd)
          },
        }
      }
      close(fd)
    }
  } catch (error) {
    throw startError(path, error)
  }
}

function isSame(a: Stats, b: Stats): boolean {
  return a.dev === b.dev && a.ino === b.ino
}

function lstatIfAny(path: string): Stats | undefined {
  return lstatSync(path, { throwIfNoEntry: false })
}

function unlinkIfAny(path: string): void {
  try {
    unlinkSync(path)
  } catch (error) {
    if (errorCode(error) !== 'ENOENT') throw error
  }
}

function startError(path: string, error: unknown): StartError {
  if (error instanceof StartError) return error
  return new StartError(errorCode(error), `${path}: cannot listen there: ${errorReason(error)}`, { cause: error })
}
