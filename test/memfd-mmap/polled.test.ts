import { close, createEventfd, FdPoll } from 'memfd-mmap'
import t from 'tap'

const EBADF = 9
const EBUSY = 16

t.test('close refuses a descriptor while it is polled', async (t) => {
  const fd = createEventfd()
  const poll = new FdPoll(fd, { readable: true }, () => {})
  t.equal(close(fd), -EBUSY)
  poll.set({})
  t.equal(close(fd), -EBUSY, 'a paused poll still holds it')
  poll.close()
  t.equal(close(fd), 0)
  t.equal(close(fd), -EBADF)
})
