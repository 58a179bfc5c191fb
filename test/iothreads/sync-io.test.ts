import { createMemfd, ERRNO, IOVEC, Mapping, raw } from 'memfd-mmap'
import t from 'tap'
import { FALLOC_FL, PENDING, RWF_DSYNC } from '../../iothreads/block-io.js'
import { SyncIo } from '../../iothreads/sync-io.js'
import { ownAddressSpace } from '../support/iothreads/own-process.js'

t.test('everything ends at once', async (t) => {
  const io = new SyncIo()
  const fd = createMemfd('sync', 8192)
  const memory = Mapping.anonymous(8192)
  t.teardown(() => {
    io.close()
    raw.close(fd)
    memory.unmap()
  })
  const bytes = new Uint8Array(memory.view())
  const words = new Uint32Array(memory.view(0, 32))
  const data = memory.address + 4096
  for (const flags of [0, RWF_DSYNC]) {
    bytes.fill(0x41 + flags, 4096, 4196)
    t.equal(io.transfer(1, true, fd, data, 100, 4000, flags), 100)
    bytes.fill(0, 4096)
    t.equal(io.transfer(1, false, fd, data, 200, 3950, 0), 200)
    t.ok(bytes.every((byte, i) => i < 4096 || byte === (i >= 4146 && i < 4246 ? 0x41 + flags : 0)))
  }
  words[0] = data
  words[1] = data / 2 ** 32
  words[2] = 10
  words[IOVEC.SIZE / 4] = data + 20
  words[IOVEC.SIZE / 4 + 1] = data / 2 ** 32
  words[IOVEC.SIZE / 4 + 2] = 30
  bytes.fill(7, 4096, 4196)
  t.equal(io.transferVector(1, true, fd, memory.address, 2, 0, 0), 40)
  t.equal(io.transferVector(1, true, fd, memory.address, 2, 100, RWF_DSYNC), 40)
  bytes.fill(0, 4096, 4196)
  t.equal(io.transferVector(1, false, fd, memory.address, 2, 100, 0), 40)
  t.strictSame(
    [4095, 4096, 4105, 4106, 4115, 4116, 4145, 4146].map((i) => bytes[i]),
    [0, 7, 7, 0, 0, 7, 7, 0],
  )
  t.equal(io.flush(1, fd), 0)
  t.equal(io.fallocate(1, fd, FALLOC_FL.PUNCH_HOLE | FALLOC_FL.KEEP_SIZE, 0, 8192), 0)
  t.equal(io.transfer(1, false, fd, data, 40, 100, 0), 40)
  t.ok(bytes.subarray(4096, 4136).every((byte) => byte === 0))
})

t.test('errors are results, none of which is PENDING', async (t) => {
  const io = new SyncIo()
  t.teardown(() => io.close())
  t.equal(io.transfer(1, false, -1, 4096, 1, 0, 0), -ERRNO.EBADF)
  t.equal(io.transfer(1, true, -1, 4096, 1, 0, RWF_DSYNC), -ERRNO.EBADF)
  t.equal(io.transferVector(1, true, -1, 4096, 1, 0, 0), -ERRNO.EBADF)
  t.equal(io.flush(1, -1), -ERRNO.EBADF)
  t.equal(io.fallocate(1, -1, 0, 0, 1), -ERRNO.EBADF)
  t.ok(PENDING < -4095, 'below every errno')
})

t.test('close gives the memory back', async (t) => {
  new SyncIo().close()
  const before = ownAddressSpace()
  for (let i = 0; i < 2000; i++) new SyncIo().close()
  t.ok(ownAddressSpace() - before < 2000 * 4096)
})
