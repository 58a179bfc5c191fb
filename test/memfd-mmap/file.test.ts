import { constants, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  close,
  createEpoll,
  createEventfd,
  createMemfd,
  fcntl,
  filePageSize,
  fileSize,
  fileType,
  openFd,
  socketPair,
  statfsType,
  TMPFS_MAGIC,
} from 'memfd-mmap'
import t from 'tap'
import { openDescriptors } from './descriptors.js'

const PROC_SUPER_MAGIC = 0x9fa0

const directory = mkdtempSync(join(tmpdir(), 'memfd-mmap-'))
t.teardown(() => rmSync(directory, { recursive: true, force: true }))

t.test('openFd opens close-on-exec and creates with a mode', async (t) => {
  const path = join(directory, 'made')
  const umask = process.umask(0)
  t.teardown(() => process.umask(umask))
  const fd = openFd(path, constants.O_RDWR | constants.O_CREAT | constants.O_EXCL, 0o640)
  t.teardown(() => close(fd))
  t.equal(fcntl(fd, 1, 0), 1, 'FD_CLOEXEC')
  t.equal(statSync(path).mode & 0o777, 0o640)
  t.throws(() => openFd(path, constants.O_CREAT | constants.O_EXCL), { code: 'EEXIST', errno: 17, syscall: 'open' })
  t.throws(() => openFd(join(directory, 'missing'), constants.O_RDONLY), { code: 'ENOENT', message: /missing/ })
  t.throws(() => openFd(`${path}\0x`, constants.O_RDONLY), { code: 'EINVAL' })
})

t.test('fileSize is that of the moment', async (t) => {
  const path = join(directory, 'size')
  writeFileSync(path, 'x'.repeat(777))
  const fd = openFd(path, constants.O_RDONLY)
  t.teardown(() => close(fd))
  t.equal(fileSize(fd), 777)
  writeFileSync(path, 'x')
  t.equal(fileSize(fd), 1)
  t.throws(() => fileSize(-1), { name: 'SystemError', code: 'EBADF', syscall: 'fstat' })
})

t.test('fileType tells them all apart', async (t) => {
  const before = openDescriptors()
  const [a, b] = socketPair()
  const open = [
    createMemfd('type', 0),
    openFd(directory, constants.O_RDONLY),
    openFd('/dev/null', constants.O_RDWR),
    createEventfd(),
    createEpoll(),
    a,
    b,
  ]
  t.strictSame(open.map(fileType), ['file', 'directory', 'char', 'anon', 'anon', 'socket', 'socket'])
  for (const fd of open) close(fd)
  t.equal(openDescriptors(), before)
  t.throws(() => fileType(9999), { code: 'EBADF' })
})

t.test('statfsType tells tmpfs from others', async (t) => {
  const memfd = createMemfd('type', 0)
  const proc = openFd('/proc/self/status', constants.O_RDONLY)
  t.teardown(() => {
    close(memfd)
    close(proc)
  })
  t.equal(statfsType(memfd), TMPFS_MAGIC)
  t.equal(statfsType(proc), PROC_SUPER_MAGIC)
  t.equal(filePageSize(memfd), 4096)
  t.equal(filePageSize(proc), 4096)
  t.throws(() => statfsType(-1), { code: 'EBADF', syscall: 'fstatfs' })
})
