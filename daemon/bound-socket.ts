/**
 * A listening Unix socket at a path that two daemons may want at once: a stale socket is replaced, a live one is not,
 * and nothing is removed that somebody else has put there since.
 */
import { constants, fstatSync, lstatSync, type Stats, unlinkSync } from 'node:fs'
import { close, connectUnix, listenUnix, lockRange, openFd, SystemError } from 'memfd-mmap'
import { errorCode, errorReason, StartError } from './errors.js'

export interface SocketOptions {
  /** Permission bits; absent: what the umask leaves. */
  readonly mode?: number | undefined
  readonly gid?: number | undefined
}

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

  private constructor(path: string, fd: number) {
    this.path = path
    this.fd = fd
    this.#identity = lstatSync(path)
    if (bound.size === 0) process.once('exit', unlinkAll)
    bound.add(this)
  }

  /** Binds and listens. Throws StartError: the path is in use, is no socket, cannot be had. */
  static bind(path: string, options: SocketOptions = {}): BoundSocket {
    const { mode, gid } = options
    const lock = lockPath(path)
    try {
      removeStaleSocket(path)
      const fd = listenUnix(path, { ...(mode !== undefined && { mode }), ...(gid !== undefined && { gid }) })
      return new BoundSocket(path, fd)
    } catch (error) {
      throw startError(path, error)
    } finally {
      lock.release()
    }
  }

  /**
   * Removes the path if it still is this socket; to be called while the descriptor is open, so that nobody can take the
   * path for stale in between. Idempotent; at the latest it happens when the process exits.
   */
  unlink(): void {
    if (!bound.delete(this)) return
    if (bound.size === 0) process.off('exit', unlinkAll)
    const now = lstatIfAny(this.path)
    if (now !== undefined && isSame(now, this.#identity)) unlinkIfAny(this.path)
  }
}

/** Removes a socket that nobody listens on. */
function removeStaleSocket(path: string): void {
  const stats = lstatIfAny(path)
  if (stats === undefined) return
  if (!stats.isSocket()) throw new StartError('VUS_SOCKET_PATH', `${path}: exists and is not a socket`)
  if (isLive(path)) throw new StartError('VUS_SOCKET_IN_USE', `${path}: the socket is in use by a live process`)
  unlinkIfAny(path)
}

function isLive(path: string): boolean {
  try {
    close(connectUnix(path))
    return true
  } catch (error) {
    const code = errorCode(error)
    if (code === 'EAGAIN') return true
    if (code === 'ECONNREFUSED' || code === 'ENOENT') return false
    throw error
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
