import { check, ERRNO, SystemError } from './errno.js'
import { declare, result, scratchAddress, scratchWords } from './libc.js'
import { close } from './raw.js'

const socket = declare('socket', 'int', ['int', 'int', 'int'])
const bind = declare('bind', 'int', ['int', 'void *', 'uint'])
const listen = declare('listen', 'int', ['int', 'int'])
const connect = declare('connect', 'int', ['int', 'void *', 'uint'])
const accept4 = declare('accept4', 'int', ['int', 'long', 'long', 'int'])
const socketpair = declare('socketpair', 'int', ['int', 'int', 'int', 'long'])
const getsockopt = declare('getsockopt', 'int', ['int', 'int', 'int', 'long', 'long'])
const shutdown = declare('shutdown', 'int', ['int', 'int'])
const chmod = declare('chmod', 'int', ['str', 'uint'])
const chown = declare('chown', 'int', ['str', 'int', 'int'])
const unlink = declare('unlink', 'int', ['str'])

const AF_UNIX = 1
const SOCK_STREAM = 1
const SOCK_NONBLOCK = 0x800
const SOCK_CLOEXEC = 0x80000
const SOCK_FLAGS = SOCK_NONBLOCK | SOCK_CLOEXEC
const SOL_SOCKET = 1
const SO_TYPE = 3
const SO_ACCEPTCONN = 30
const SO_DOMAIN = 39
const SHUT_RDWR = 2

/** struct sockaddr_un: u16 family, then the path with its final NUL (unix(7)). */
const SOCKADDR_UN = { FAMILY: 0, PATH: 2, SIZE: 110 } as const

/** Longest path of a Unix socket in bytes, without the NUL. */
export const SUN_PATH_MAX = SOCKADDR_UN.SIZE - SOCKADDR_UN.PATH - 1

function socketAddress(path: string, call: string): Uint8Array {
  const bytes = Buffer.from(path)
  if (bytes.length > SUN_PATH_MAX) {
    const detail = `the path has ${bytes.length} bytes, a socket path may have ${SUN_PATH_MAX}: ${path}`
    throw new SystemError(call, ERRNO.ENAMETOOLONG, detail)
  }
  if (bytes.length === 0) throw new SystemError(call, ERRNO.ENOENT, 'the path is empty')
  if (bytes.includes(0)) throw new SystemError(call, ERRNO.EINVAL, 'the path contains a NUL')
  const address = new Uint8Array(SOCKADDR_UN.SIZE)
  address[SOCKADDR_UN.FAMILY] = AF_UNIX
  address.set(bytes, SOCKADDR_UN.PATH)
  return address
}

function createSocket(): number {
  return check(result(socket(AF_UNIX, SOCK_STREAM | SOCK_FLAGS, 0)), 'socket')
}

export interface ListenOptions {
  /** Permission bits of the path, 0o660 say. Default: what the umask leaves. */
  mode?: number
  /** Group id that shall own the path. */
  gid?: number
  backlog?: number
}

/**
 * A listening stream socket at `path`: its descriptor, non-blocking and close-on-exec. Mode and group are in place
 * before anybody can connect. A path that exists is EADDRINUSE, one that is too long ENAMETOOLONG. Removing the path
 * afterwards is the caller's business.
 */
export function listenUnix(path: string, options: ListenOptions = {}): number {
  const address = socketAddress(path, 'bind')
  const fd = createSocket()
  let bound = false
  try {
    check(result(bind(fd, address, address.length)), 'bind', path)
    bound = true
    if (options.gid !== undefined) check(result(chown(path, -1, options.gid)), 'chown', path)
    if (options.mode !== undefined) check(result(chmod(path, options.mode)), 'chmod', path)
    check(result(listen(fd, options.backlog ?? 128)), 'listen', path)
  } catch (error) {
    if (bound) unlink(path)
    close(fd)
    throw error
  }
  return fd
}

/** A stream socket connected to `path`, non-blocking and close-on-exec. EAGAIN when the listener's backlog is full. */
export function connectUnix(path: string): number {
  const address = socketAddress(path, 'connect')
  const fd = createSocket()
  const status = result(connect(fd, address, address.length))
  if (status < 0) {
    close(fd)
    throw new SystemError('connect', status, path)
  }
  return fd
}

/**
 * Next connection of a listening socket: its descriptor, non-blocking and close-on-exec, or -errno (-EAGAIN: none is
 * waiting).
 */
export function acceptUnix(listenFd: number): number {
  return result(accept4(listenFd, 0, 0, SOCK_FLAGS))
}

/** Two connected stream sockets, non-blocking and close-on-exec. */
export function socketPair(): [number, number] {
  check(result(socketpair(AF_UNIX, SOCK_STREAM | SOCK_FLAGS, 0, scratchAddress)), 'socketpair')
  return [scratchWords[0]!, scratchWords[1]!]
}

/** A socket option of type int, or -errno. */
function socketOption(fd: number, option: number): number {
  scratchWords[2] = 4
  const status = result(getsockopt(fd, SOL_SOCKET, option, scratchAddress, scratchAddress + 8))
  return status < 0 ? status : scratchWords[0]!
}

/** Whether `fd` is a socket that listens; false for anything else. */
export function isListening(fd: number): boolean {
  return socketOption(fd, SO_ACCEPTCONN) === 1
}

/** Whether `fd` is a Unix stream socket; false for anything else. */
export function isUnixStreamSocket(fd: number): boolean {
  return socketOption(fd, SO_DOMAIN) === AF_UNIX && socketOption(fd, SO_TYPE) === SOCK_STREAM
}

/** shutdown(2) in both directions: 0 or -errno. */
export function shutdownSocket(fd: number): number {
  return result(shutdown(fd, SHUT_RDWR))
}
