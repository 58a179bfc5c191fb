import { readFileSync } from 'node:fs'
import { constants } from 'node:os'
import {
  addressOf,
  close,
  createMemfd,
  dup,
  fallocate,
  fcntl,
  fdatasync,
  fileSize,
  fsync,
  ftruncate,
  gettid,
  IOVEC,
  lseek,
  memcmp,
  memcpy,
  memmove,
  memset,
  posixFadvise,
  pread,
  preadv,
  preadv2,
  pwrite,
  pwritev,
  pwritev2,
  raw,
  read,
  syscall,
  syscall1,
  syscall2,
  syscall3,
  syscall4,
  write,
} from 'memfd-mmap'
import t from 'tap'
import { run } from './children/run.js'

const { EBADF, EFAULT, EINVAL, ENOSYS, ENXIO } = constants.errno
const SYS =
  process.arch === 'x64'
    ? { read: 0, pread64: 17, getpid: 39, ftruncate: 77 }
    : { read: 63, pread64: 67, getpid: 172, ftruncate: 46 }

const memory = new Uint8Array(new ArrayBuffer(8192))
const address = addressOf(memory)

t.test('syscall: by number, with up to six arguments, -errno on failure', async (t) => {
  t.equal(syscall(SYS.getpid), process.pid)
  t.equal(syscall(100_000), -ENOSYS)
  const fd = createMemfd('raw', 16)
  t.teardown(() => close(fd))
  memory.set([1, 2, 3, 4])
  t.equal(pwrite(fd, address, 4, 8), 4)
  t.equal(syscall4(SYS.pread64, fd, address + 100, 4, 8), 4)
  t.strictSame([...memory.subarray(100, 104)], [1, 2, 3, 4])
  t.equal(syscall3(SYS.read, -1, address, 1), -EBADF)
  t.equal(syscall2(SYS.ftruncate, fd, 99), 0)
  t.equal(fileSize(fd), 99)
  t.equal(syscall1(SYS.getpid, 0), process.pid)
})

t.test('read, write, pread, pwrite move bytes and answer their count', async (t) => {
  const fd = createMemfd('raw', 0)
  t.teardown(() => close(fd))
  memory.set(Buffer.from('hello world'))
  t.equal(write(fd, address, 11), 11)
  t.equal(read(fd, address, 11), 0, 'the position is at the end')
  t.equal(pread(fd, address + 64, 100, 6), 5, 'short at the end of the file')
  t.equal(Buffer.from(memory.subarray(64, 69)).toString(), 'world')
  t.equal(pwrite(fd, address, 5, 6), 5)
  t.equal(pread(fd, address + 64, 11, 0), 11)
  t.equal(Buffer.from(memory.subarray(64, 75)).toString(), 'hello hello')
})

t.test('vectored calls scatter and gather', async (t) => {
  const fd = createMemfd('raw', 0)
  t.teardown(() => close(fd))
  const iov = new Uint32Array(new ArrayBuffer(2 * IOVEC.SIZE))
  const fill = (at: number, base: number, length: number) => {
    iov[at * 4] = base >>> 0
    iov[at * 4 + 1] = Math.floor(base / 2 ** 32)
    iov[at * 4 + 2] = length
  }
  const iovAddress = addressOf(iov)
  memory.set(Buffer.from('abcdefgh'))
  fill(0, address + 4, 4)
  fill(1, address, 4)
  t.equal(pwritev(fd, iovAddress, 2, 0), 8)
  fill(0, address + 1000, 3)
  fill(1, address + 2000, 5)
  t.equal(preadv(fd, iovAddress, 2, 0), 8)
  t.equal(Buffer.from(memory.subarray(1000, 1003)).toString(), 'efg')
  t.equal(Buffer.from(memory.subarray(2000, 2005)).toString(), 'habcd')
  t.equal(pwritev2(fd, iovAddress, 1, 100, 0), 3)
  t.equal(preadv2(fd, iovAddress, 2, 100, 0), 3)
  t.equal(preadv2(fd, iovAddress, 2, 0, 0x40000000), -constants.errno.EOPNOTSUPP, 'an unknown RWF_ flag')
})

t.test('memcpy, memmove, memset, memcmp', async (t) => {
  memory.fill(0)
  memset(address, 0x1ff, 16)
  t.ok(memory.subarray(0, 16).every((byte) => byte === 0xff))
  t.equal(memory[16], 0)
  memory.set([1, 2, 3, 4], 0)
  memcpy(address + 100, address, 4)
  t.equal(memcmp(address + 100, address, 4), 0)
  memory[101] = 9
  t.ok(memcmp(address + 100, address, 4) > 0)
  t.ok(memcmp(address, address + 100, 4) < 0)
  memmove(address + 1, address, 4)
  t.strictSame([...memory.subarray(0, 5)], [1, 1, 2, 3, 4])
})

t.test('offsets and lengths above 2^32 arrive whole', async (t) => {
  const fd = createMemfd('raw', 0)
  t.teardown(() => close(fd))
  const far = 5 * 2 ** 40 + 7
  memory[0] = 0x5a
  t.equal(pwrite(fd, address, 1, far), 1)
  t.equal(fileSize(fd), far + 1)
  memory[0] = 0
  t.equal(pread(fd, address, 10, far), 1)
  t.equal(memory[0], 0x5a)
  t.equal(ftruncate(fd, 2 ** 33), 0)
  t.equal(fileSize(fd), 2 ** 33)
})

t.test('fallocate, fsync, fdatasync', async (t) => {
  const fd = createMemfd('raw', 8192)
  t.teardown(() => close(fd))
  memset(address, 7, 8192)
  t.equal(pwrite(fd, address, 8192, 0), 8192)
  const PUNCH_HOLE_KEEP_SIZE = 3
  t.equal(fallocate(fd, PUNCH_HOLE_KEEP_SIZE, 4096, 4096), 0)
  t.equal(pread(fd, address, 8192, 0), 8192)
  t.equal(memory[4095], 7)
  t.equal(memory[4096], 0)
  t.equal(fallocate(fd, 0, 0, 0), -EINVAL)
  t.equal(fsync(fd), 0)
  t.equal(fdatasync(fd), 0)
  t.equal(fdatasync(-1), -EBADF)
})

t.test('lseek finds data and holes; posix_fadvise answers 0 or -errno', async (t) => {
  const fd = createMemfd('raw', 3 * 65536)
  t.teardown(() => close(fd))
  const [SEEK_DATA, SEEK_HOLE, WILLNEED] = [3, 4, 3]
  t.equal(pwrite(fd, address, 1, 65536), 1)
  t.equal(lseek(fd, 0, SEEK_DATA), 65536)
  t.ok(lseek(fd, 65536, SEEK_HOLE) > 65536)
  t.equal(lseek(fd, 2 * 65536, SEEK_DATA), -ENXIO)
  t.equal(lseek(fd, 0, 99), -EINVAL)
  t.equal(posixFadvise(fd, 0, 65536, WILLNEED), 0)
  t.equal(posixFadvise(fd, 0, 65536, 99), -EINVAL)
  t.equal(posixFadvise(-1, 0, 0, WILLNEED), -EBADF)
})

t.test('dup makes a close-on-exec descriptor, close closes one', async (t) => {
  const fd = createMemfd('raw', 5)
  const copy = dup(fd)
  t.not(copy, fd)
  t.equal(close(fd), 0)
  t.equal(fileSize(copy), 5)
  t.equal(fcntl(copy, 1, 0), 1, 'FD_CLOEXEC')
  t.equal(close(copy), 0)
  t.equal(close(copy), -EBADF)
  t.equal(dup(-1), -EBADF)
})

t.test('a wrong address is -EFAULT', async (t) => {
  const fd = createMemfd('raw', 16)
  t.teardown(() => close(fd))
  t.equal(pread(fd, 4096, 16, 0), -EFAULT)
  t.equal(preadv(fd, 4096, 1, 0), -EFAULT)
})

t.test('gettid is the id of the main thread here', async (t) => {
  t.equal(gettid(), process.pid)
  t.match(readFileSync(`/proc/self/task/${gettid()}/status`, 'utf8'), /^Name:/)
})

t.test('the functions are there under raw as well', async (t) => {
  t.equal(raw.syscall, syscall)
  t.equal(raw.close, close)
})

t.test('nothing on the hot path allocates', async (t) => {
  const nodeOptions = ['--expose-gc', '--min-semi-space-size=512', '--max-semi-space-size=512']
  const { code, stdout } = await run('allocations', [500_000], [], nodeOptions)
  t.equal(code, 0)
  const { object, ...bytes } = JSON.parse(stdout) as Record<string, number>
  t.ok(object! >= 16, 'an object per call is noticed')
  t.equal(Object.keys(bytes).length, 8)
  // A heap number takes 12 bytes or more; what is left is the JIT's own.
  for (const [name, perCall] of Object.entries(bytes)) t.ok(perCall < 2, `${name}: ${perCall} bytes per call`)
})
