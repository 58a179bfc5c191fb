import { close, createEventfd, socketPair } from 'memfd-mmap'
import t from 'tap'
import { Connection, decodeHeader, HEADER } from 'vhost-user-protocol-ts'
import { eventually } from '../../support/deadline.js'
import { frame } from '../../support/vhost-user/frame.js'
import { leakless, soon } from '../../support/vhost-user/harness.js'
import { Collector, put, take, turn } from '../../support/vhost-user/wire.js'

const open = (direction: 'requests' | 'replies' = 'replies') => {
  const [here, peer] = socketPair()
  const connection = new Connection(here, { direction })
  const collector = new Collector()
  connection.start(collector)
  return { connection, collector, peer }
}

/** Sends numbered frames with a descriptor each, far more than a socket buffer holds; how many. */
const fill = (connection: Connection, fd: number): number => {
  const payload = new Uint8Array(200)
  let sent = 0
  for (; sent < 700; sent++) {
    if (!connection.send(sent, 0x1, payload, [fd])) throw new Error(`message ${sent} was not taken`)
  }
  return sent
}

leakless(t, 'what the kernel does not take waits, with its descriptors, and goes out in order', async (t) => {
  const { connection, collector, peer } = open()
  const fd = createEventfd()
  const sent = fill(connection, fd)
  close(fd)
  let bytes = Buffer.alloc(0)
  let fds = 0
  const length = (HEADER.LENGTH + 200) * sent
  await eventually(10_000, 'all bytes', () => {
    for (let got = take(peer); got !== undefined; got = take(peer)) {
      bytes = Buffer.concat([bytes, got.bytes])
      fds += got.fds.length
      for (const each of got.fds) close(each)
    }
    return bytes.length >= length ? true : undefined
  })
  t.equal(bytes.length, length)
  t.equal(fds, sent)
  const view = new DataView(bytes.buffer, bytes.byteOffset)
  const numbers = Array.from({ length: sent }, (_, i) => decodeHeader(view, i * (HEADER.LENGTH + 200)).request)
  t.same(numbers, [...numbers.keys()])
  t.same(collector.ends, [])
  connection.close()
  close(peer)
})

leakless(t, 'a peer that never reads is given up, and nothing is left behind', async (t) => {
  const { connection, collector, peer } = open()
  const fd = createEventfd()
  const payload = new Uint8Array(200)
  let sent = 0
  while (connection.send(1, 0x1, payload, [fd])) sent++
  close(fd)
  t.ok(sent < 10_000, 'the queue is bounded')
  await soon('the end', collector.over())
  t.match(collector.ends, [{ code: 'VUS_SEND_QUEUE_FULL' }])
  connection.close()
  close(peer)
})

leakless(t, 'closing forgets what waits', async () => {
  const { connection, peer } = open()
  const fd = createEventfd()
  fill(connection, fd)
  close(fd)
  connection.close()
  close(peer)
})

leakless(t, 'a peer that is gone is an error', async (t) => {
  const { connection, collector, peer } = open()
  close(peer)
  t.equal(connection.send(1, 0x1), false)
  t.match(collector.ends, [{ code: 'VUS_SOCKET_ERROR', message: /EPIPE/ }])
  connection.close()
})

leakless(t, 'a back end whose replies do not get through takes no further request', async (t) => {
  const { connection, collector, peer } = open('requests')
  const reply = new Uint8Array(2056)
  collector.act = (message) => {
    connection.reply(message.request, reply)
  }
  let asked = 0
  // One request after the other, until one is no longer read because the answers have filled their direction.
  do {
    put(peer, frame(1, 0x1))
    asked++
    await turn()
    await turn()
  } while (collector.messages.length === asked && asked < 5000)
  t.equal(collector.messages.length, asked - 1)
  let bytes = 0
  await eventually(10_000, 'all replies', () => {
    for (let got = take(peer); got !== undefined; got = take(peer)) bytes += got.bytes.length
    return bytes === asked * (HEADER.LENGTH + reply.length) ? true : undefined
  })
  t.equal(collector.messages.length, asked)
  connection.close()
  close(peer)
})
