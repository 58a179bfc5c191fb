import { readlinkSync } from 'node:fs'
import {
  addSeals,
  close,
  createEventfd,
  createMemfd,
  F_SEAL_GROW,
  F_SEAL_SEAL,
  F_SEAL_SHRINK,
  F_SEAL_WRITE,
  fcntl,
  fileSize,
  ftruncate,
  getSeals,
  Mapping,
  openFd,
} from 'memfd-mmap'
import t from 'tap'
import { openDescriptors } from './descriptors.js'

const EPERM = 1

t.test('createMemfd: a name, a size, close-on-exec', async (t) => {
  const fd = createMemfd('guest memory', 3 * 2 ** 30)
  t.teardown(() => close(fd))
  t.equal(fileSize(fd), 3 * 2 ** 30)
  t.match(readlinkSync(`/proc/self/fd/${fd}`), '/memfd:guest memory')
  t.equal(fcntl(fd, 1, 0), 1, 'FD_CLOEXEC')
  t.equal(getSeals(fd), 0)
})

t.test('F_SEAL_SHRINK: growing only', async (t) => {
  const fd = createMemfd('sealed', 8192)
  t.teardown(() => close(fd))
  addSeals(fd, F_SEAL_SHRINK)
  t.equal(getSeals(fd), F_SEAL_SHRINK)
  t.equal(ftruncate(fd, 4096), -EPERM)
  t.equal(ftruncate(fd, 16384), 0)
  addSeals(fd, F_SEAL_GROW)
  t.equal(getSeals(fd), F_SEAL_SHRINK | F_SEAL_GROW)
  t.equal(ftruncate(fd, 32768), -EPERM)
})

t.test('seals at creation come after the size', async (t) => {
  const fd = createMemfd('sealed', 8192, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)
  t.teardown(() => close(fd))
  t.equal(fileSize(fd), 8192)
  t.equal(getSeals(fd), F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)
  t.throws(() => addSeals(fd, F_SEAL_WRITE), { code: 'EPERM' })
})

t.test('F_SEAL_WRITE is refused under a writable mapping', async (t) => {
  const fd = createMemfd('sealed', 4096)
  t.teardown(() => close(fd))
  const mapping = Mapping.map({ fd, length: 4096 })
  t.throws(() => addSeals(fd, F_SEAL_WRITE), { code: 'EBUSY' })
  mapping.unmap()
  addSeals(fd, F_SEAL_WRITE)
  t.throws(() => Mapping.map({ fd, length: 4096 }), { code: 'EPERM' })
})

t.test('getSeals tells files that have none, and bad descriptors', async (t) => {
  const eventfd = createEventfd()
  const directory = openFd('/proc', 0)
  t.teardown(() => {
    close(eventfd)
    close(directory)
  })
  t.equal(getSeals(eventfd), -1)
  t.equal(getSeals(directory), -1)
  t.throws(() => getSeals(-1), { code: 'EBADF' })
})

t.test('bad sizes and seals leave no descriptor behind', async (t) => {
  const before = openDescriptors()
  t.throws(() => createMemfd('bad', -1), RangeError)
  t.throws(() => createMemfd('bad', 1.5), RangeError)
  t.throws(() => createMemfd('bad', 4096, 0x4000_0000), { code: 'EINVAL' })
  t.throws(() => createMemfd('x'.repeat(300), 4096), { code: 'EINVAL', syscall: 'memfd_create' })
  t.equal(openDescriptors(), before)
})
