import {
  constants,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import {
  acceptUnix,
  close,
  connectUnix,
  ERRNO,
  isListening,
  listenUnix,
  lockRange,
  openFd,
  SUN_PATH_MAX,
} from 'memfd-mmap'
import t from 'tap'
import { BoundSocket, isLive, socketAt } from '../../daemon/bound-socket.js'
import { Child } from '../support/child.js'
import type { Teardown } from '../support/teardown.js'
import { tempDir } from '../support/temp-dir.js'

const MODULE = new URL('../../daemon/bound-socket.js', import.meta.url).href
const START_MS = 20_000

/** A process that binds, says how that went, and then does as told by `after`. */
function binder(t: Teardown, path: string, after: string, way: 'bind' | 'replace' = 'bind'): Child {
  const code = `
    const { BoundSocket } = await import(${JSON.stringify(MODULE)})
    try {
      BoundSocket.${way}(${JSON.stringify(path)})
      console.log('bound')
    } catch (error) {
      console.log(error.code)
    }
    ${after}`
  return new Child(t, 'binder', process.execPath, ['--input-type=module', '--eval', code])
}

t.test('a new socket', (t) => {
  const dir = tempDir(t)
  const path = join(dir, 's')
  const socket = BoundSocket.bind(path, { mode: 0o620, gid: process.getgid?.() ?? 0 })
  t.ok(isListening(socket.fd))
  t.equal(statSync(path).mode & 0o777, 0o620)
  t.strictSame(readdirSync(dir), ['s'], 'no lock file is left')
  close(connectUnix(path))
  socket.unlink()
  socket.unlink()
  t.strictSame(readdirSync(dir), [])
  close(socket.fd)
  t.end()
})

t.test('a stale socket is replaced', (t) => {
  const dir = tempDir(t)
  const path = join(dir, 's')
  close(listenUnix(path))
  t.throws(() => connectUnix(path), { code: 'ECONNREFUSED' })
  const socket = BoundSocket.bind(path)
  close(connectUnix(path))
  socket.unlink()
  close(socket.fd)
  t.strictSame(readdirSync(dir), [])
  t.end()
})

t.test('a live one is not, even if its backlog is full', (t) => {
  const path = join(tempDir(t), 's')
  const fd = listenUnix(path, { backlog: 0 })
  const inode = lstatSync(path).ino
  const fault = { code: 'VUS_SOCKET_IN_USE', message: `${path}: the socket is in use by a live process` }
  t.throws(() => BoundSocket.bind(path), fault)
  const waiting: number[] = []
  t.throws(
    () => {
      for (;;) waiting.push(connectUnix(path))
    },
    { code: 'EAGAIN' },
  )
  t.throws(() => BoundSocket.bind(path), fault)
  t.equal(lstatSync(path).ino, inode)
  for (const connection of [...waiting, fd]) close(connection)
  t.end()
})

t.test('what is no socket is left alone', (t) => {
  const dir = tempDir(t)
  writeFileSync(join(dir, 'file'), 'precious')
  mkdirSync(join(dir, 'dir'))
  for (const name of ['file', 'dir']) {
    const path = join(dir, name)
    t.throws(() => BoundSocket.bind(path), { code: 'VUS_SOCKET_PATH', message: `${path}: exists and is not a socket` })
  }
  t.equal(readFileSync(join(dir, 'file'), 'utf8'), 'precious')
  t.strictSame(readdirSync(dir), ['dir', 'file'])
  t.end()
})

t.test('paths that cannot be had', (t) => {
  const dir = tempDir(t)
  const missing = join(dir, 'no', 's')
  t.throws(() => BoundSocket.bind(missing), {
    code: 'ENOENT',
    message: `${missing}: cannot listen there: no such file or directory`,
  })
  const long = join(dir, 'x'.repeat(108))
  t.throws(() => BoundSocket.bind(long), { code: 'ENAMETOOLONG', message: /name too long$/ })
  t.strictSame(readdirSync(dir), [], 'no lock file is left')
  t.end()
})

t.test('the path is not touched while another process takes it', (t) => {
  const dir = tempDir(t)
  const path = join(dir, 's')
  const fd = openFd(`${path}.lock`, constants.O_RDWR | constants.O_CREAT)
  t.equal(lockRange(fd, 'exclusive', 0, 0), 0)
  t.throws(() => BoundSocket.bind(path), { code: 'VUS_SOCKET_IN_USE', message: /another process is taking the socket/ })
  close(fd)
  t.strictSame(readdirSync(dir), ['s.lock'], 'as a killed process leaves it')
  const socket = BoundSocket.bind(path)
  t.strictSame(readdirSync(dir), ['s'])
  socket.unlink()
  close(socket.fd)
  t.end()
})

t.test('of several processes that find a stale socket one gets it', async (t) => {
  const dir = tempDir(t)
  const path = join(dir, 's')
  close(listenUnix(path))
  const children = Array.from({ length: 4 }, () => binder(t, path, 'setInterval(() => {}, 1e6)'))
  const outcomes = await Promise.all(
    children.map(async (child) => (await child.output('stdout', /^\w+$/m, START_MS))[0]),
  )
  t.strictSame(outcomes.sort(), ['VUS_SOCKET_IN_USE', 'VUS_SOCKET_IN_USE', 'VUS_SOCKET_IN_USE', 'bound'])
  close(connectUnix(path))
  t.strictSame(readdirSync(dir), ['s'])
})

t.test('a path that means something else by now is not removed', (t) => {
  const dir = tempDir(t)
  const path = join(dir, 's')
  const socket = BoundSocket.bind(path)
  renameSync(path, join(dir, 'moved'))
  const successor = BoundSocket.bind(path)
  socket.unlink()
  t.ok(existsSync(path))
  successor.unlink()
  t.notOk(existsSync(path))
  close(socket.fd)
  close(successor.fd)
  t.end()
})

t.test('the path goes when the process exits', async (t) => {
  const dir = tempDir(t)
  const child = binder(t, join(dir, 's'), 'process.exit(7)')
  t.strictSame(await child.ended(START_MS), { code: 7, signal: null })
  t.equal(child.stdout, 'bound\n')
  t.strictSame(readdirSync(dir), [])
})

t.test('a live socket is replaced by who says so, at no moment leaving none', (t) => {
  const dir = tempDir(t)
  const path = join(dir, 's')
  const old = BoundSocket.bind(path)
  const fresh = BoundSocket.replace(path, { mode: 0o600 })
  t.equal(statSync(path).mode & 0o777, 0o600)
  close(connectUnix(path))
  t.ok(acceptUnix(fresh.fd) >= 0, 'connections go to the new one')
  t.equal(acceptUnix(old.fd), -ERRNO.EAGAIN)
  t.ok(fresh.isPreviousLive)
  t.notOk(old.isPreviousLive, 'it has replaced none')
  old.unlink()
  t.ok(existsSync(path), 'the old one does not remove what is not its own')
  close(old.fd)
  t.notOk(fresh.isPreviousLive)
  fresh.settle()
  fresh.settle()
  t.strictSame(readdirSync(dir), ['s'])
  fresh.unlink()
  close(fresh.fd)
  t.strictSame(readdirSync(dir), [])
  t.end()
})

t.test('the old socket gets its path back', (t) => {
  const dir = tempDir(t)
  const path = join(dir, 's')
  const old = BoundSocket.bind(path)
  const fresh = BoundSocket.replace(path)
  fresh.unlink()
  close(fresh.fd)
  t.strictSame(readdirSync(dir), ['s'])
  close(connectUnix(path))
  t.ok(acceptUnix(old.fd) >= 0)
  old.unlink()
  close(old.fd)
  t.strictSame(readdirSync(dir), [])
  t.end()
})

t.test('unless somebody else has it by then', (t) => {
  const dir = tempDir(t)
  const path = join(dir, 's')
  const [first, second] = [BoundSocket.bind(path), BoundSocket.replace(path)]
  second.settle()
  const third = BoundSocket.replace(path)
  second.unlink()
  t.ok(existsSync(path))
  close(second.fd)
  third.unlink()
  t.strictSame(readdirSync(dir), ['s'], 'it gives it back to nobody')
  t.notOk(isLive(path))
  const last = BoundSocket.bind(path)
  last.unlink()
  for (const { fd } of [first, third, last]) close(fd)
  t.strictSame(readdirSync(dir), [])
  t.end()
})

t.test('a process that exits or is killed gives the path back, or leaves what is cleared away', async (t) => {
  const dir = tempDir(t)
  const path = join(dir, 's')
  const old = BoundSocket.bind(path)
  const exiting = binder(t, path, 'process.exit(0)', 'replace')
  t.strictSame(await exiting.ended(START_MS), { code: 0, signal: null })
  t.equal(exiting.stdout, 'bound\n')
  t.strictSame(readdirSync(dir), ['s'])
  t.ok(isLive(path))
  const killed = binder(t, path, `process.kill(process.pid, 'SIGKILL')`, 'replace')
  t.match(await killed.ended(START_MS), { signal: 'SIGKILL' })
  t.strictSame(readdirSync(dir), ['s', 's.old'])
  t.notOk(isLive(path))
  const next = BoundSocket.replace(path)
  next.settle()
  next.unlink()
  close(next.fd)
  t.strictSame(readdirSync(dir), [])
  mkdirSync(join(dir, 's.new'))
  close(old.fd)
  const plain = BoundSocket.bind(path)
  t.strictSame(readdirSync(dir), ['s', 's.new'], 'what is no socket is left alone')
  plain.unlink()
  close(plain.fd)
  t.end()
})

t.test('replacing what is not there, stale, no socket, or not what it was', (t) => {
  const dir = tempDir(t)
  const path = join(dir, 's')
  const alone = BoundSocket.replace(path)
  const seen = socketAt(path)!
  close(alone.fd)
  const next = BoundSocket.replace(path, {}, seen)
  next.settle()
  t.throws(() => BoundSocket.replace(path, {}, seen), {
    code: 'VUS_SOCKET_IN_USE',
    message: `${path}: another process has taken the socket meanwhile`,
  })
  t.ok(isLive(path))
  next.unlink()
  close(next.fd)
  t.throws(() => BoundSocket.replace(path, {}, seen), { code: 'VUS_SOCKET_IN_USE' }, 'nor is it there any more')
  writeFileSync(path, 'precious')
  t.throws(() => BoundSocket.replace(path), { code: 'VUS_SOCKET_PATH' })
  t.throws(() => socketAt(path), { code: 'VUS_SOCKET_PATH' })
  t.equal(readFileSync(path, 'utf8'), 'precious')
  writeFileSync(join(dir, 'live.new'), 'precious')
  const live = BoundSocket.bind(join(dir, 'live'))
  t.throws(() => BoundSocket.replace(live.path), { code: 'EADDRINUSE' }, 'a name that it needs is taken')
  t.ok(isLive(live.path))
  t.strictSame(readdirSync(dir), ['live', 'live.new', 's'])
  live.unlink()
  close(live.fd)
  t.end()
})

t.test('a path so long that nothing fits behind it', (t) => {
  const dir = tempDir(t)
  const path = join(dir, 'x'.repeat(SUN_PATH_MAX - dir.length - 1))
  const old = BoundSocket.bind(path)
  const parent = join(dir, 'y'.repeat(60))
  mkdirSync(parent)
  const deep = join(parent, 'z'.repeat(SUN_PATH_MAX - parent.length - 1))
  const previous = BoundSocket.bind(deep)
  const fresh = BoundSocket.replace(deep)
  t.ok(fresh.isPreviousLive)
  close(connectUnix(deep))
  t.ok(acceptUnix(fresh.fd) >= 0)
  for (const socket of [fresh, previous, old]) {
    socket.unlink()
    close(socket.fd)
  }
  t.end()
})

t.test('the path stays while somebody else takes it', (t) => {
  const dir = tempDir(t)
  const path = join(dir, 's')
  const socket = BoundSocket.bind(path)
  const fd = openFd(`${path}.lock`, constants.O_RDWR | constants.O_CREAT)
  t.equal(lockRange(fd, 'exclusive', 0, 0), 0)
  socket.unlink()
  t.ok(existsSync(path))
  close(socket.fd)
  close(fd)
  const next = BoundSocket.bind(path)
  next.unlink()
  close(next.fd)
  t.strictSame(readdirSync(dir), [])
  t.end()
})
