import {
  addressOf,
  close,
  createEpoll,
  createEventfd,
  createMemfd,
  drainEventfd,
  EPOLL_EVENT,
  EPOLLERR,
  EPOLLET,
  EPOLLHUP,
  EPOLLIN,
  EPOLLOUT,
  epollAdd,
  epollDelete,
  epollModify,
  epollWait,
  fcntl,
  signalEventfd,
  socketPair,
} from 'memfd-mmap'
import t from 'tap'

const { EBADF, EEXIST, ENOENT, EPERM } = { EBADF: 9, EEXIST: 17, ENOENT: 2, EPERM: 1 }

const memory = new DataView(new ArrayBuffer(8 * EPOLL_EVENT.SIZE))
const address = addressOf(memory)
const eventsAt = (i: number) => memory.getUint32(i * EPOLL_EVENT.SIZE + EPOLL_EVENT.EVENTS, true)
const dataAt = (i: number) => Number(memory.getBigUint64(i * EPOLL_EVENT.SIZE + EPOLL_EVENT.DATA, true))

t.test('level-triggered: events and data come back until the cause is gone', async (t) => {
  const epfd = createEpoll()
  const first = createEventfd()
  const second = createEventfd()
  t.teardown(() => {
    for (const fd of [epfd, first, second]) close(fd)
  })
  t.equal(fcntl(epfd, 1, 0), 1, 'FD_CLOEXEC')
  t.equal(epollAdd(epfd, first, EPOLLIN, 2 ** 52 + 3), 0)
  t.equal(epollAdd(epfd, second, EPOLLIN, 7), 0)
  t.equal(epollWait(epfd, address, 8, 0), 0)
  signalEventfd(first)
  signalEventfd(second)
  t.equal(epollWait(epfd, address, 1, -1), 1, 'no more than asked for')
  t.equal(epollWait(epfd, address, 8, -1), 2)
  t.strictSame([dataAt(0), dataAt(1)].sort(), [2 ** 52 + 3, 7])
  t.equal(eventsAt(0), EPOLLIN)
  drainEventfd(first)
  t.equal(epollWait(epfd, address, 8, 0), 1)
  t.equal(dataAt(0), 7)
  t.equal(epollDelete(epfd, second), 0)
  t.equal(epollWait(epfd, address, 8, 0), 0)
})

t.test('edge-triggered: once for each signal', async (t) => {
  const epfd = createEpoll()
  const fd = createEventfd()
  t.teardown(() => {
    close(epfd)
    close(fd)
  })
  t.equal(epollAdd(epfd, fd, EPOLLIN + EPOLLET, 1), 0)
  signalEventfd(fd)
  t.equal(epollWait(epfd, address, 8, 0), 1)
  t.equal(epollWait(epfd, address, 8, 0), 0)
  signalEventfd(fd)
  t.equal(epollWait(epfd, address, 8, 0), 1)
})

t.test('epollModify changes events and data', async (t) => {
  const epfd = createEpoll()
  const [a, b] = socketPair()
  t.teardown(() => {
    close(epfd)
    close(a)
  })
  t.equal(epollAdd(epfd, a, EPOLLIN, 1), 0)
  t.equal(epollWait(epfd, address, 8, 0), 0)
  t.equal(epollModify(epfd, a, EPOLLOUT, 2), 0)
  t.equal(epollWait(epfd, address, 8, 0), 1)
  t.strictSame([eventsAt(0), dataAt(0)], [EPOLLOUT, 2])
  close(b)
  t.equal(epollModify(epfd, a, 0, 3), 0)
  t.equal(epollWait(epfd, address, 8, 0), 1, 'a hang-up is always told')
  t.strictSame([eventsAt(0) & (EPOLLHUP | EPOLLERR), dataAt(0)], [EPOLLHUP, 3])
})

t.test('errors are negative errnos', async (t) => {
  const epfd = createEpoll()
  const fd = createEventfd()
  const file = createMemfd('file', 0)
  t.teardown(() => {
    for (const open of [epfd, fd, file]) close(open)
  })
  t.equal(epollAdd(epfd, fd, EPOLLIN, 0), 0)
  t.equal(epollAdd(epfd, fd, EPOLLIN, 0), -EEXIST)
  t.equal(epollAdd(epfd, file, EPOLLIN, 0), -EPERM)
  t.equal(epollDelete(epfd, file), -EPERM)
  t.equal(epollAdd(epfd, -1, EPOLLIN, 0), -EBADF)
  t.equal(epollDelete(epfd, fd), 0)
  t.equal(epollDelete(epfd, fd), -ENOENT)
  t.equal(epollWait(-1, address, 8, 0), -EBADF)
})
