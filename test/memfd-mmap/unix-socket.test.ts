import { chmodSync, existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  acceptUnix,
  close,
  connectUnix,
  createEventfd,
  fcntl,
  isListening,
  isUnixStreamSocket,
  listenUnix,
  MessageSocket,
  SUN_PATH_MAX,
  shutdownSocket,
  socketPair,
} from 'memfd-mmap'
import t from 'tap'
import { openDescriptors } from './descriptors.js'

const EAGAIN = 11
const EBADF = 9
const EPIPE = 32

const directory = mkdtempSync(join(tmpdir(), 'memfd-mmap-'))
t.teardown(() => rmSync(directory, { recursive: true, force: true }))

function flags(fd: number): { closeOnExec: boolean; nonBlocking: boolean } {
  return { closeOnExec: fcntl(fd, 1, 0) === 1, nonBlocking: (fcntl(fd, 3, 0) & 0x800) !== 0 }
}

const BOTH = { closeOnExec: true, nonBlocking: true }

t.test('listen, connect, accept; every descriptor is close-on-exec and non-blocking', async (t) => {
  const path = join(directory, 'first')
  const listener = listenUnix(path)
  t.equal(acceptUnix(listener), -EAGAIN)
  const client = connectUnix(path)
  const server = acceptUnix(listener)
  t.teardown(() => {
    for (const fd of [listener, client, server]) close(fd)
  })
  t.equal(acceptUnix(listener), -EAGAIN)
  for (const fd of [listener, client, server]) t.strictSame(flags(fd), BOTH)
  t.equal(new MessageSocket(client).send(Buffer.from('ping'), 0, 4), 4)
  const bytes = new Uint8Array(4)
  t.equal(new MessageSocket(server).receive(bytes, 0, 4, []), 4)
  t.equal(Buffer.from(bytes).toString(), 'ping')
})

t.test('mode and group are those asked for, whatever the umask', async (t) => {
  const path = join(directory, 'mode')
  const umask = process.umask(0o077)
  t.teardown(() => process.umask(umask))
  const gid = process.getgid!()
  const listener = listenUnix(path, { mode: 0o666, gid, backlog: 1 })
  t.teardown(() => close(listener))
  t.equal(statSync(path).mode & 0o777, 0o666)
  t.equal(statSync(path).gid, gid)
})

t.test('a path that is taken or cannot be made is an error and leaves no descriptor', async (t) => {
  const path = join(directory, 'taken')
  writeFileSync(path, '')
  const before = openDescriptors()
  t.throws(() => listenUnix(path), { code: 'EADDRINUSE', syscall: 'bind' })
  t.ok(existsSync(path), 'the file of another is left alone')
  t.throws(() => listenUnix(join(directory, 'missing', 'x')), { code: 'ENOENT' })
  t.throws(() => connectUnix(path), { code: 'ECONNREFUSED' })
  t.throws(() => connectUnix(join(directory, 'nobody')), { code: 'ENOENT', syscall: 'connect' })
  t.throws(() => connectUnix(''), { code: 'ENOENT' })
  t.throws(() => listenUnix('a\0b'), { code: 'EINVAL' })
  t.equal(openDescriptors(), before)
})

t.test('a failure after bind takes the path away again', async (t) => {
  const path = join(directory, 'half')
  const uid = process.geteuid!()
  if (uid === 0) chmodSync(directory, 0o777)
  const before = openDescriptors()
  // Only root may give a file to a group that it is not in.
  if (uid === 0) process.seteuid!(65534)
  try {
    t.throws(() => listenUnix(path, { gid: 12345 }), { code: 'EPERM', syscall: 'chown' })
  } finally {
    if (uid === 0) process.seteuid!(uid)
  }
  t.notOk(existsSync(path))
  t.equal(openDescriptors(), before)
})

t.test('a path may have SUN_PATH_MAX bytes and no more', async (t) => {
  t.equal(SUN_PATH_MAX, 107)
  const longest = join(directory, 'x'.repeat(SUN_PATH_MAX - directory.length - 1))
  t.equal(longest.length, SUN_PATH_MAX)
  const listener = listenUnix(longest)
  const client = connectUnix(longest)
  close(client)
  close(listener)
  t.ok(statSync(longest).isSocket(), 'not cut')
  const tooLong = { code: 'ENAMETOOLONG', message: /108 bytes, a socket path may have 107/ }
  t.throws(() => listenUnix(`${longest}y`), tooLong)
  t.throws(() => connectUnix(`${longest}y`), tooLong)
  const bytes = 'é'.repeat(54)
  t.throws(() => listenUnix(bytes), tooLong, 'bytes count, not characters')
})

t.test('a full backlog is EAGAIN', async (t) => {
  const path = join(directory, 'backlog')
  const listener = listenUnix(path, { backlog: 0 })
  const clients = [connectUnix(path)]
  t.teardown(() => {
    for (const fd of [listener, ...clients]) close(fd)
  })
  t.throws(() => connectUnix(path), { code: 'EAGAIN' })
})

t.test('what kind of socket it is', async (t) => {
  const listener = listenUnix(join(directory, 'kind'))
  const [a, b] = socketPair()
  const eventfd = createEventfd()
  t.teardown(() => {
    for (const fd of [listener, a, b, eventfd]) close(fd)
  })
  t.strictSame([listener, a, b, eventfd, -1].map(isListening), [true, false, false, false, false])
  t.strictSame([listener, a, b, eventfd, -1].map(isUnixStreamSocket), [true, true, true, false, false])
  t.strictSame([flags(a), flags(b)], [BOTH, BOTH])
})

t.test('shutdownSocket ends both directions', async (t) => {
  const [a, b] = socketPair()
  t.teardown(() => {
    close(a)
    close(b)
  })
  t.equal(shutdownSocket(a), 0)
  const bytes = new Uint8Array(1)
  t.equal(new MessageSocket(b).receive(bytes, 0, 1, []), 0)
  t.equal(new MessageSocket(b).send(bytes, 0, 1), -EPIPE)
  t.equal(shutdownSocket(-1), -EBADF)
})
