import {
  addressOf,
  close,
  createEventfd,
  createMemfd,
  drainEventfd,
  fcntl,
  fileSize,
  MAX_MESSAGE_FDS,
  MessageSocket,
  signalEventfd,
  socketPair,
  syscall3,
} from 'memfd-mmap'
import t, { type Test } from 'tap'
import { openDescriptors } from './descriptors.js'

const { EAGAIN, EBADF, ECONNRESET, EINVAL, EMSGSIZE, EPIPE } = {
  EAGAIN: 11,
  EBADF: 9,
  ECONNRESET: 104,
  EINVAL: 22,
  EMSGSIZE: 90,
  EPIPE: 32,
}

function pair(t: Test): { a: number; b: number; sender: MessageSocket; receiver: MessageSocket } {
  const [a, b] = socketPair()
  t.teardown(() => {
    close(a)
    close(b)
  })
  return { a, b, sender: new MessageSocket(a), receiver: new MessageSocket(b) }
}

t.test('bytes go from a part of one buffer to a part of another', async (t) => {
  const { sender, receiver } = pair(t)
  const into = new Uint8Array(10).fill(0xff)
  const fds: number[] = []
  t.equal(receiver.receive(into, 0, 10, fds), -EAGAIN)
  t.equal(sender.send(Buffer.from('..hello..'), 2, 5), 5)
  t.equal(receiver.receive(into, 3, 7, fds), 5)
  t.strictSame([...into], [255, 255, 255, ...Buffer.from('hello'), 255, 255])
  t.strictSame(fds, [])
})

t.test('partial reads and writes', async (t) => {
  const { sender, receiver } = pair(t)
  const large = new Uint8Array(4 * 2 ** 20)
  for (let i = 0; i < large.length; i++) large[i] = (i * 7) & 0xff
  const into = new Uint8Array(large.length)
  let sent = 0
  let received = 0
  let full = 0
  let short = 0
  while (received < large.length) {
    while (sent < large.length) {
      const n = sender.send(large, sent, large.length - sent)
      if (n < large.length - sent) short++
      if (n < 0) {
        if (n === -EAGAIN) full++
        break
      }
      sent += n
    }
    const n = receiver.receive(into, received, Math.min(100_003, large.length - received), [])
    if (n <= 0) break
    received += n
  }
  t.ok(short > 0, 'some sends took a part')
  t.ok(full > 0, 'the socket was full at times')
  t.equal(Buffer.compare(into, large), 0)
})

t.test('descriptors arrive with the first byte, work, and are close-on-exec', async (t) => {
  const { sender, receiver } = pair(t)
  const eventfd = createEventfd()
  const memfd = createMemfd('passed', 12345)
  const got: number[] = [-7]
  t.equal(sender.send(Buffer.from('abcdef'), 0, 6, [eventfd, memfd]), 6)
  const into = new Uint8Array(6)
  t.equal(receiver.receive(into, 0, 2, got), 2)
  t.equal(got.length, 3, 'appended')
  t.equal(receiver.receive(into, 2, 4, got), 4)
  t.equal(got.length, 3, 'once')
  signalEventfd(eventfd)
  t.equal(drainEventfd(got[1]!), 1)
  t.equal(fileSize(got[2]!), 12345)
  for (const fd of [eventfd, memfd, got[1]!, got[2]!]) {
    t.equal(fcntl(fd, 1, 0), 1, 'FD_CLOEXEC')
    t.equal(close(fd), 0)
  }
})

t.test('descriptors of two messages do not mix, though their bytes are asked for at once', async (t) => {
  const { sender, receiver } = pair(t)
  const eventfd = createEventfd()
  t.teardown(() => close(eventfd))
  t.equal(sender.send(Buffer.from('ab'), 0, 2, [eventfd]), 2)
  t.equal(sender.send(Buffer.from('cd'), 0, 2, [eventfd, eventfd]), 2)
  const into = new Uint8Array(4)
  const first: number[] = []
  const second: number[] = []
  t.equal(receiver.receive(into, 0, 4, first), 2, 'the kernel stops at the next set of descriptors')
  t.equal(receiver.receive(into, 2, 2, second), 2)
  t.strictSame([first.length, second.length], [1, 2])
  for (const fd of [...first, ...second]) close(fd)
})

t.test('as many descriptors as fit', async (t) => {
  const { sender, receiver } = pair(t)
  const eventfd = createEventfd()
  t.teardown(() => close(eventfd))
  const into = new Uint8Array(1)
  const got: number[] = []
  const before = openDescriptors()
  t.equal(sender.send(into, 0, 1, new Array<number>(MAX_MESSAGE_FDS).fill(eventfd)), 1)
  t.equal(receiver.receive(into, 0, 1, got), 1)
  t.equal(got.length, MAX_MESSAGE_FDS)
  t.equal(new Set(got).size, MAX_MESSAGE_FDS)
  for (const fd of got) t.equal(close(fd), 0)
  t.equal(openDescriptors(), before)
  t.equal(sender.send(into, 0, 1, new Array<number>(MAX_MESSAGE_FDS + 1).fill(eventfd)), -EINVAL)
})

/** sendmsg(2) put together here, without MessageSocket's limit, from the layouts in its manual page. */
function sendDescriptors(socket: number, fds: readonly number[]): number {
  const message = new DataView(new ArrayBuffer(56 + 16 + 8 + 16 + 4 * fds.length + 8))
  const at = addressOf(message)
  const [iov, byte, control] = [56, 72, 80]
  message.setBigUint64(16, BigInt(at + iov), true)
  message.setBigUint64(24, 1n, true)
  message.setBigUint64(32, BigInt(at + control), true)
  message.setBigUint64(40, BigInt(16 + 4 * fds.length), true)
  message.setBigUint64(iov, BigInt(at + byte), true)
  message.setBigUint64(iov + 8, 1n, true)
  message.setBigUint64(control, BigInt(16 + 4 * fds.length), true)
  message.setInt32(control + 8, 1, true)
  message.setInt32(control + 12, 1, true)
  for (const [i, fd] of fds.entries()) message.setInt32(control + 16 + 4 * i, fd, true)
  return syscall3(process.arch === 'x64' ? 46 : 211, socket, at, 0)
}

t.test('more descriptors than fit: all of them are closed and the message is refused', async (t) => {
  const { a, sender, receiver } = pair(t)
  const eventfd = createEventfd()
  t.teardown(() => close(eventfd))
  const into = new Uint8Array(1)
  const got: number[] = [-7]
  const before = openDescriptors()
  for (const count of [MAX_MESSAGE_FDS + 1, 253]) {
    t.equal(sendDescriptors(a, new Array<number>(count).fill(eventfd)), 1)
    t.equal(receiver.receive(into, 0, 1, got), -EMSGSIZE)
    t.strictSame(got, [-7], 'what was there stays')
    t.equal(openDescriptors(), before)
  }
  t.equal(sender.send(into, 0, 1, [eventfd]), 1)
  t.equal(receiver.receive(into, 0, 1, got), 1, 'the socket still works')
  t.equal(close(got[1]!), 0)
})

t.test('10,000 descriptors there and back leave nothing open', async (t) => {
  const { sender, receiver } = pair(t)
  const eventfd = createEventfd()
  t.teardown(() => close(eventfd))
  const bytes = new Uint8Array(12)
  const there: number[] = []
  const back: number[] = []
  const before = openDescriptors()
  let failures = 0
  for (let i = 0; i < 10_000; i++) {
    there.length = 0
    back.length = 0
    if (sender.send(bytes, 0, 12, [eventfd]) !== 12) failures++
    if (receiver.receive(bytes, 0, 12, there) !== 12 || there.length !== 1) failures++
    if (receiver.send(bytes, 0, 12, there) !== 12) failures++
    if (sender.receive(bytes, 0, 12, back) !== 12 || back.length !== 1) failures++
    if (signalEventfd(back[0]!) !== 0 || drainEventfd(eventfd) !== 1) failures++
    if (close(there[0]!) !== 0 || close(back[0]!) !== 0) failures++
  }
  t.equal(failures, 0)
  t.equal(openDescriptors(), before)
})

t.test('the end of the stream is 0, and sending after it -EPIPE, not a signal', async (t) => {
  const { a, sender, receiver } = pair(t)
  const bytes = new Uint8Array(4)
  t.equal(sender.send(bytes, 0, 4), 4)
  close(a)
  t.equal(receiver.receive(bytes, 0, 4, []), 4, 'what was sent still arrives')
  t.equal(receiver.receive(bytes, 0, 4, []), 0)
  t.equal(receiver.receive(bytes, 0, 4, []), 0)
  t.equal(receiver.send(bytes, 0, 4), -EPIPE)
})

t.test('a peer that leaves unread data behind is -ECONNRESET', async (t) => {
  const { a, receiver } = pair(t)
  const bytes = new Uint8Array(4)
  t.equal(receiver.send(bytes, 0, 4), 4)
  close(a)
  t.equal(receiver.receive(bytes, 0, 4, []), -ECONNRESET)
})

t.test('misuse: bad descriptors, ranges, and nothing to carry descriptors', async (t) => {
  const { sender, receiver } = pair(t)
  const bytes = new Uint8Array(8)
  t.equal(new MessageSocket(-1).receive(bytes, 0, 8, []), -EBADF)
  t.equal(new MessageSocket(-1).send(bytes, 0, 8), -EBADF)
  t.equal(sender.send(bytes, 0, 1, [-1]), -EBADF)
  t.equal(sender.send(bytes, 0, 0, [0]), -EINVAL)
  t.equal(receiver.receive(bytes, 0, 0, []), -EINVAL)
  t.throws(() => receiver.receive(bytes, 4, 5, []), RangeError)
  t.throws(() => receiver.receive(bytes, -1, 5, []), RangeError)
  t.throws(() => sender.send(bytes, 9, 1), RangeError)
  t.throws(() => sender.send(bytes, Number.NaN, 1), RangeError)
  t.equal(receiver.receive(bytes, 0, 8, []), -EAGAIN, 'nothing of all this was sent')
})

t.test('buffers that alternate are told apart', async (t) => {
  const { sender, receiver } = pair(t)
  const header = new Uint8Array([1, 2])
  const body = Buffer.alloc(70_000, 9)
  const into = [new Uint8Array(2), new Uint8Array(2)]
  for (let i = 0; i < 3; i++) {
    t.equal(sender.send(header, 0, 2), 2)
    t.equal(sender.send(body, 69_998, 2), 2)
    t.equal(receiver.receive(into[0]!, 0, 2, []), 2)
    t.equal(receiver.receive(into[1]!, 0, 2, []), 2)
    t.strictSame([...into[0]!, ...into[1]!], [1, 2, 9, 9])
  }
})
