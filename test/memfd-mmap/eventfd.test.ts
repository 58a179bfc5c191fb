import { addressOf, close, createEventfd, drainEventfd, fcntl, read, signalEventfd, write } from 'memfd-mmap'
import t from 'tap'

const EAGAIN = 11
const EBADF = 9

t.test('signals add up and are taken at once', async (t) => {
  const fd = createEventfd()
  t.teardown(() => close(fd))
  t.equal(drainEventfd(fd), 0)
  for (let i = 0; i < 5; i++) t.equal(signalEventfd(fd), 0)
  t.equal(drainEventfd(fd), 5)
  t.equal(drainEventfd(fd), 0)
})

t.test('the initial count, close-on-exec, non-blocking', async (t) => {
  const fd = createEventfd(2 ** 32 - 1)
  t.teardown(() => close(fd))
  t.equal(signalEventfd(fd), 0)
  t.equal(drainEventfd(fd), 2 ** 32)
  t.equal(fcntl(fd, 1, 0), 1, 'FD_CLOEXEC')
  t.equal(fcntl(fd, 3, 0) & 0x800, 0x800, 'O_NONBLOCK')
  const word = new BigUint64Array(1)
  t.equal(read(fd, addressOf(word), 8), -EAGAIN)
})

t.test('a full counter has been signalled', async (t) => {
  const fd = createEventfd()
  t.teardown(() => close(fd))
  const word = new BigUint64Array([2n ** 64n - 2n])
  t.equal(write(fd, addressOf(word), 8), 8)
  word[0] = 1n
  t.equal(write(fd, addressOf(word), 8), -EAGAIN)
  t.equal(signalEventfd(fd), 0)
  t.equal(drainEventfd(fd), 2 ** 64)
})

t.test('errors are negative errnos', async (t) => {
  t.equal(signalEventfd(-1), -EBADF)
  t.equal(drainEventfd(-1), -EBADF)
})
