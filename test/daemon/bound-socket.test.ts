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
import { close, connectUnix, isListening, listenUnix, lockRange, openFd } from 'memfd-mmap'
import t from 'tap'
import { BoundSocket } from '../../daemon/bound-socket.js'
import { Child } from '../support/child.js'
import type { Teardown } from '../support/teardown.js'
import { tempDir } from '../support/temp-dir.js'

const MODULE = new URL('../../daemon/bound-socket.js', import.meta.url).href
const START_MS = 20_000

/** A process that binds, says how that went, and then does as told by `after`. */
function binder(t: Teardown, path: string, after: string): Child {
  const code = `
    const { BoundSocket } = await import(${JSON.stringify(MODULE)})
    try {
      BoundSocket.bind(${JSON.stringify(path)})
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
