import { once } from 'node:events'
import { constants, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import {
  close,
  createEventfd,
  createMemfd,
  drainEventfd,
  FdPoll,
  fcntl,
  MessageSocket,
  openFd,
  signalEventfd,
  socketPair,
} from 'memfd-mmap'
import t from 'tap'
import { run } from './children/run.js'
import { openDescriptors } from './descriptors.js'

const ECONNRESET = 104

/** A poll whose events are waited for one after the other. */
class Events {
  #seen: [boolean, boolean, number][] = []
  #wake: (() => void) | undefined
  readonly callback = (readable: boolean, writable: boolean, error: number): void => {
    this.#seen.push([readable, writable, error])
    this.#wake?.()
  }

  get count(): number {
    return this.#seen.length
  }

  async next(): Promise<[boolean, boolean, number]> {
    while (this.#seen.length === 0) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
    return this.#seen.shift()!
  }
}

t.test('readable, as long as it is', async (t) => {
  const fd = createEventfd()
  t.teardown(() => close(fd))
  const events = new Events()
  const poll = new FdPoll(fd, { readable: true }, events.callback)
  signalEventfd(fd)
  t.strictSame(await events.next(), [true, false, 0])
  t.strictSame(await events.next(), [true, false, 0], 'level-triggered')
  t.equal(poll.fd, fd)
  t.notOk(poll.closed)
  poll.close()
  t.ok(poll.closed)
})

t.test('set: the other direction, nothing, both', async (t) => {
  const [a, b] = socketPair()
  t.teardown(() => {
    close(a)
    close(b)
  })
  const events = new Events()
  const poll = new FdPoll(a, {}, events.callback)
  const other = new Events()
  const paced = new FdPoll(b, { writable: true }, other.callback)
  t.strictSame(await other.next(), [false, true, 0])
  await other.next()
  t.equal(events.count, 0, 'paused from the start')
  poll.set({ writable: true })
  t.strictSame(await events.next(), [false, true, 0])
  poll.set({})
  while (events.count > 0) await events.next()
  await other.next()
  await other.next()
  t.equal(events.count, 0, 'paused')
  paced.close()
  new MessageSocket(b).send(new Uint8Array(1), 0, 1)
  poll.set({ readable: true, writable: true })
  t.strictSame(await events.next(), [true, true, 0])
  poll.close()
})

t.test('after close no callback runs, though its event was under way', async (t) => {
  const before = openDescriptors()
  const fds = [createEventfd(1), createEventfd(1)]
  const calls: number[] = []
  const done = new Promise<void>((resolve) => {
    const polls = fds.map(
      (fd, i) =>
        new FdPoll(fd, { readable: true }, () => {
          calls.push(i)
          // Both are ready in the same round of the loop: whichever comes first closes both.
          for (const poll of polls) poll.close()
          resolve()
        }),
    )
  })
  await done
  const events = new Events()
  const later = createEventfd(1)
  const poll = new FdPoll(later, { readable: true }, events.callback)
  await events.next()
  await events.next()
  poll.close()
  t.equal(calls.length, 1)
  for (const fd of [...fds, later]) t.equal(close(fd), 0)
  t.equal(openDescriptors(), before)
})

t.test('a descriptor can be polled again after close', async (t) => {
  const fd = createEventfd(1)
  t.teardown(() => close(fd))
  for (let i = 0; i < 100; i++) {
    const events = new Events()
    const poll = new FdPoll(fd, { readable: true }, events.callback)
    if (i % 10 === 0) await events.next()
    poll.close()
    poll.close()
  }
  t.equal(drainEventfd(fd), 1)
})

t.test('misuse throws where libuv would abort', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'memfd-mmap-'))
  t.teardown(() => rmSync(directory, { recursive: true, force: true }))
  const before = openDescriptors()
  const eventfd = createEventfd()
  const bad = [
    createMemfd('poll', 4096),
    openFd(join(directory, 'file'), constants.O_RDWR | constants.O_CREAT),
    openFd(directory, constants.O_RDONLY),
    openFd('/dev/null', constants.O_RDWR),
  ]
  const nothing = () => {}
  for (const fd of bad) t.throws(() => new FdPoll(fd, { readable: true }, nothing), { code: 'EPERM', syscall: 'poll' })
  t.throws(() => new FdPoll(-1, { readable: true }, nothing), { code: 'EBADF' })
  t.throws(() => new FdPoll(9999, { readable: true }, nothing), { code: 'EBADF' })
  const poll = new FdPoll(eventfd, { readable: true }, nothing)
  t.throws(() => new FdPoll(eventfd, { writable: true }, nothing), { code: 'EEXIST' })
  poll.close()
  t.throws(() => poll.set({ readable: true }), { name: 'SystemError', code: 'EBADF', message: /closed/ })
  t.throws(() => poll.ref(), { code: 'EBADF' })
  t.throws(() => poll.unref(), { code: 'EBADF' })
  t.doesNotThrow(() => poll.close())
  for (const fd of [...bad, eventfd]) t.equal(close(fd), 0)
  t.equal(openDescriptors(), before)
})

t.test('an error on the descriptor is reported with what was asked for, until it has been taken', async (t) => {
  const [a, b] = socketPair()
  const bytes = new Uint8Array(8)
  const socket = new MessageSocket(a)
  new MessageSocket(b).send(bytes, 0, 8)
  socket.send(bytes, 0, 1)
  close(b)
  const events = new Events()
  const poll = new FdPoll(a, { readable: true }, events.callback)
  for (let i = 0; i < 2; i++) {
    const [readable, writable, error] = await events.next()
    t.ok(readable)
    t.notOk(writable)
    t.ok(error < 0)
  }
  t.equal(socket.receive(bytes, 0, 8, []), 8, 'what came before it can be read')
  t.equal(socket.receive(bytes, 0, 8, []), -ECONNRESET)
  while (events.count > 0) await events.next()
  t.strictSame(await events.next(), [true, false, 0], 'the end of the stream')
  t.equal(socket.receive(bytes, 0, 8, []), 0)
  poll.close()
  close(a)
})

t.test('a closed or unreferenced poll lets the process end; promise jobs run', async (t) => {
  t.match(await run('poll-life', ['closed']), { code: 0, stdout: 'job 1\n' })
  t.match(await run('poll-life', ['unreferenced']), { code: 0, stdout: 'unreferenced\n' })
})

t.test('a referenced poll keeps the process alive', async (t) => {
  const [a, b] = socketPair()
  const ended = run('poll-life', ['referenced'], [b])
  close(b)
  const events = new Events()
  const poll = new FdPoll(a, { readable: true }, events.callback)
  await events.next()
  poll.close()
  const socket = new MessageSocket(a)
  const bytes = new Uint8Array(8)
  t.equal(socket.receive(bytes, 0, 8, []), 5, 'it is polling')
  t.equal(socket.send(bytes, 0, 3), 3)
  close(a)
  const { code, stdout } = await ended
  t.equal(code, 0)
  t.match(stdout, /^received 3\n(received 0\n)$/)
})

t.test('a poll that nothing refers to is not collected', async (t) => {
  t.match(await run('poll-life', ['collected'], [], ['--expose-gc']), { code: 0, stdout: 'event 1\n' })
})

t.test('an exception in a callback is an uncaught exception', async (t) => {
  const { code, stdout } = await run('poll-life', ['throwing'])
  t.equal(code, 0)
  t.equal(stdout, 'uncaught from the callback\nlater calls 1 2\n')
})

t.test('a worker may end with polls open', async (t) => {
  const fd = createEventfd()
  t.teardown(() => close(fd))
  const source = `
    import { FdPoll } from '${import.meta.resolve('memfd-mmap')}'
    import { workerData } from 'node:worker_threads'
    new FdPoll(workerData, { readable: true }, () => {}).unref()`
  const url = new URL(`data:text/javascript,${encodeURIComponent(source)}`)
  for (let i = 0; i < 5; i++) t.strictSame(await once(new Worker(url, { workerData: fd }), 'exit'), [0])
})

t.test('the descriptor becomes non-blocking', async (t) => {
  const fd = createEventfd()
  t.teardown(() => close(fd))
  const O_NONBLOCK = 0x800
  t.equal(fcntl(fd, 4, 0), 0)
  t.equal(fcntl(fd, 3, 0) & O_NONBLOCK, 0)
  new FdPoll(fd, { readable: true }, () => {}).close()
  t.equal(fcntl(fd, 3, 0) & O_NONBLOCK, O_NONBLOCK)
})
