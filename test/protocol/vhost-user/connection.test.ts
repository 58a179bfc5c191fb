import fc from 'fast-check'
import { close, createEventfd, socketPair } from 'memfd-mmap'
import t, { type Test } from 'tap'
import { Connection, type Direction, MAX_REQUEST_PAYLOAD } from 'vhost-user-protocol-ts'
import { frame } from '../../support/vhost-user/frame.js'
import { leakless, soon } from '../../support/vhost-user/harness.js'
import { Collector, put, take, turn } from '../../support/vhost-user/wire.js'

/** A connection, what it delivers, and the peer's end. */
const open = (direction: Direction = 'requests') => {
  const [here, peer] = socketPair()
  const connection = new Connection(here, { direction })
  const collector = new Collector()
  connection.start(collector)
  return {
    connection,
    collector,
    peer,
    done: () => {
      connection.close()
      close(peer)
    },
  }
}

const endsWith = async (t: Test, bytes: Uint8Array, code: string | undefined, fds: number[] = []) => {
  const { collector, connection, peer } = open()
  put(peer, bytes, fds)
  close(peer)
  await soon('the end', collector.over())
  t.equal(collector.ends.length, 1)
  t.equal((collector.ends[0] as { code?: string } | undefined)?.code, code, `${code}`)
  connection.close()
  return collector.messages.length
}

leakless(t, 'messages arrive whole, however they are cut', async (t) => {
  const message = fc.record({ request: fc.nat(0xffffffff), payload: fc.uint8Array({ maxLength: MAX_REQUEST_PAYLOAD }) })
  await fc.assert(
    fc.asyncProperty(fc.array(message, { minLength: 1, maxLength: 4 }), fc.array(fc.nat(40)), async (all, cuts) => {
      const { collector, peer, done } = open()
      const bytes = Buffer.concat(all.map(({ request, payload }) => frame(request, 0x1, payload)))
      let at = 0
      for (const cut of cuts) {
        const piece = bytes.subarray(at, at + cut)
        if (piece.length > 0) put(peer, piece)
        at += piece.length
        await turn()
      }
      if (at < bytes.length) put(peer, bytes.subarray(at))
      await soon('all messages', collector.received(all.length))
      done()
      t.same(
        collector.messages.map(({ request, bytes }) => ({ request, payload: bytes })),
        all.map(({ request, payload }) => ({ request, payload })),
      )
    }),
    { numRuns: 40 },
  )
})

leakless(t, 'byte by byte', async (t) => {
  const { collector, peer, done } = open()
  const bytes = Buffer.concat([
    frame(2, 0x1, new Uint8Array(8).fill(7)),
    frame(3, 0x9),
    frame(4, 0x1, new Uint8Array(1)),
  ])
  for (let i = 0; i < bytes.length; i++) {
    put(peer, bytes.subarray(i, i + 1))
    await turn()
  }
  await soon('all messages', collector.received(3))
  t.same(
    collector.messages.map(({ request, flags, bytes }) => [request, flags, bytes.length]),
    [
      [2, 0x1, 8],
      [3, 0x9, 0],
      [4, 0x1, 1],
    ],
  )
  done()
})

leakless(t, 'the next message stays in the socket, with its descriptors, until this one is done', async (t) => {
  const { connection, collector, peer, done } = open()
  let release = (): void => {}
  collector.act = () => new Promise((resolve) => (release = resolve))
  const fd = createEventfd()
  put(peer, Buffer.concat([frame(1, 0x1, new Uint8Array(8)), frame(2, 0x1)]))
  put(peer, frame(3, 0x1, new Uint8Array(4)), [fd])
  close(fd)
  await soon('the first', collector.received(1))
  await turn()
  await turn()
  t.equal(collector.messages.length, 1)
  const left = take(connection.fd)!
  t.same(left.bytes, Buffer.concat([frame(2, 0x1), frame(3, 0x1, new Uint8Array(4))]), 'nothing of them had been read')
  t.equal(left.fds.length, 1)
  for (const each of left.fds) close(each)
  put(peer, frame(4, 0x1))
  release()
  await soon('the one after', collector.received(2))
  t.match(collector.messages[1], { request: 4, fds: 0 })
  release()
  done()
})

leakless(t, 'descriptors belong to the message they come with, and are closed after it', async (t) => {
  const { collector, peer, done } = open()
  const fds = [createEventfd(), createEventfd(), createEventfd()]
  put(peer, frame(1, 0x1), fds.slice(0, 2))
  put(peer, frame(2, 0x1))
  put(peer, frame(3, 0x1), fds.slice(2))
  let kept = -1
  collector.act = (message) => {
    if (message.request === 3) kept = message.takeFd(0)
  }
  await soon('three messages', collector.received(3))
  await turn()
  t.same(
    collector.messages.map((message) => message.fds),
    [2, 0, 1],
  )
  t.equal(close(kept), 0, 'what was taken is the handler’s')
  for (const fd of fds) close(fd)
  done()
})

leakless(t, 'descriptors that come with any byte of a message are collected', async (t) => {
  const { collector, peer, done } = open()
  const fd = createEventfd()
  const bytes = frame(9, 0x1, new Uint8Array(4))
  for (let i = 0; i < bytes.length; i++) {
    put(peer, bytes.subarray(i, i + 1), i % 5 === 0 ? [fd] : [])
    await turn()
  }
  await soon('the message', collector.received(1))
  t.equal(collector.messages[0]?.fds, 4)
  close(fd)
  done()
})

leakless(t, 'more than eight descriptors end the connection', async (t) => {
  const fd = createEventfd()
  const fds = (count: number) => new Array<number>(count).fill(fd)
  t.equal(await endsWith(t, frame(5, 0x1), undefined, fds(8)), 1)
  t.equal(await endsWith(t, frame(5, 0x1), 'VUS_FD_COUNT', fds(9)), 0)
  t.equal(await endsWith(t, frame(5, 0x1), 'VUS_FD_COUNT', fds(64)), 0)
  close(fd)
})

leakless(t, 'an end between two messages is orderly, one inside of a message is not', async (t) => {
  t.equal(await endsWith(t, frame(1, 0x1), undefined), 1)
  const bytes = frame(1, 0x1, new Uint8Array(8))
  for (const length of [1, 11, 12, 19]) t.equal(await endsWith(t, bytes.subarray(0, length), 'VUS_TRUNCATED'), 0)
  const fd = createEventfd()
  t.equal(await endsWith(t, bytes.subarray(0, 13), 'VUS_TRUNCATED', [fd]), 0)
  close(fd)
})

leakless(t, 'headers that end the connection', async (t) => {
  t.equal(await endsWith(t, frame(1, 0x0), 'VUS_BAD_VERSION'), 0)
  t.equal(await endsWith(t, frame(1, 0x5), 'VUS_REPLY_FLAG'), 0)
  t.equal(await endsWith(t, frame(1, 0x21), 'VUS_RESERVED_FLAGS'), 0)
  t.equal(await endsWith(t, Buffer.from('GET / HTTP/1.1\r\n'), 'VUS_BAD_VERSION'), 0)
  t.equal(await endsWith(t, frame(1, 0x1, new Uint8Array(268)), undefined), 1)
  t.equal(await endsWith(t, frame(1, 0x1, new Uint8Array(269)), 'VUS_PAYLOAD_TOO_LARGE'), 0)
  t.equal(await endsWith(t, frame(1, 0x1, new Uint8Array(0), 0xffffffff), 'VUS_PAYLOAD_TOO_LARGE'), 0)
})

leakless(t, 'what a handler fails with ends the connection, and closes the descriptors', async (t) => {
  const { collector, peer, done } = open()
  const failure = new Error('handler')
  collector.act = () => {
    throw failure
  }
  const fd = createEventfd()
  put(peer, frame(1, 0x1), [fd])
  put(peer, frame(2, 0x1), [fd])
  close(fd)
  await soon('the end', collector.over())
  t.same(collector.ends, [failure])
  t.equal(collector.messages.length, 1)
  done()
})

leakless(t, 'after stop() or close() nothing is delivered any more', async (t) => {
  const first = open()
  put(first.peer, frame(1, 0x1))
  first.connection.stop()
  await turn()
  await turn()
  t.equal(first.collector.messages.length, 0)
  t.equal(first.connection.send(1, 0x5), false)
  first.done()
  const second = open()
  second.connection.close()
  second.connection.close()
  t.equal(second.connection.reply(1, new Uint8Array(8)), false)
  await turn()
  t.same(second.collector.ends, [])
  close(second.peer)
})

leakless(t, 'a connection that is stopped while a handler works closes what came with the message', async (t) => {
  const { connection, collector, peer, done } = open()
  let release = (): void => {}
  collector.act = () => new Promise((resolve) => (release = resolve))
  const fd = createEventfd()
  put(peer, frame(1, 0x1), [fd])
  close(fd)
  await soon('the message', collector.received(1))
  connection.stop()
  release()
  await turn()
  t.same(collector.ends, [])
  done()
})

leakless(t, 'replies: only a reply will do', async (t) => {
  const { collector, peer, done } = open('replies')
  put(peer, frame(1, 0x5, new Uint8Array(8)))
  put(peer, frame(2, 0x1))
  await soon('the end', collector.over())
  t.equal(collector.messages.length, 1)
  t.match(collector.ends, [{ code: 'VUS_BAD_REPLY' }])
  done()
})
