import { existsSync } from 'node:fs'
import { acceptUnix, close, createEventfd, FdPoll, listenUnix, socketPair } from 'memfd-mmap'
import t, { type Test } from 'tap'
import {
  BackendSession,
  FrontEnd,
  featureMask,
  FRONT_END_REQUEST as REQUEST,
  u64Payload,
  VHOST_USER_PROTOCOL_F,
} from 'vhost-user-protocol-ts'
import { tempDir } from '../../support/temp-dir.js'
import { frame } from '../../support/vhost-user/frame.js'
import { Files, Harness, leakless, region, soon } from '../../support/vhost-user/harness.js'
import { naive } from '../../support/vhost-user/naive.js'
import { RecordingDevice } from '../../support/vhost-user/recording-device.js'
import { put, take, turn } from '../../support/vhost-user/wire.js'

leakless(t, 'over a real socket: any number of sessions, one after the other and at once', async (t) => {
  const path = `${tempDir(t)}/s.sock`
  const listener = listenUnix(path)
  const sessions: BackendSession[] = []
  const poll = new FdPoll(listener, { readable: true }, () => {
    for (let fd = acceptUnix(listener); fd >= 0; fd = acceptUnix(listener)) {
      sessions.push(new BackendSession(fd, new RecordingDevice()))
    }
  })
  for (let round = 0; round < 3; round++) {
    const frontEnds = [FrontEnd.connect(path), FrontEnd.connect(path)]
    for (const frontEnd of frontEnds) t.equal(await soon('an answer', frontEnd.getQueueNum()), 2)
    for (const frontEnd of frontEnds) frontEnd.close()
    for (const session of sessions.splice(0)) t.equal((await soon('the end', session.closed)).code, 'VUS_PEER_CLOSED')
  }
  poll.close()
  close(listener)
  t.ok(existsSync(path))
  t.throws(() => FrontEnd.connect(path), { code: 'ECONNREFUSED' })
  t.throws(() => FrontEnd.connect(`${path}.not`), { code: 'ENOENT' })
})

leakless(t, 'requests may overlap; each gets its own answer', async (t) => {
  const harness = new Harness()
  await harness.negotiate()
  const { frontEnd, device } = harness
  t.same(
    await Promise.all([
      frontEnd.getQueueNum(),
      frontEnd.getMaxMemSlots(),
      frontEnd.setOwner(),
      frontEnd.getProtocolFeatures(),
      frontEnd.setVringNum(99, 1).catch((error) => error.code),
      frontEnd.getQueueNum(),
    ]),
    [2, 32, undefined, device.protocolFeatures, 'VUS_NACK', 2],
  )
  await harness.leave()
})

leakless(t, 'which messages ask to be acknowledged', async (t) => {
  const asked: number[] = []
  const harness = new Harness(new RecordingDevice(), {
    needReply: (request) => {
      asked.push(request)
      return request === REQUEST.SET_OWNER
    },
  })
  const { frontEnd, reports } = harness
  await frontEnd.setOwner()
  t.same(asked, [], 'not before REPLY_ACK is negotiated')
  await harness.negotiate()
  await frontEnd.setOwner()
  await frontEnd.setVringNum(0, 4)
  t.same(asked, [REQUEST.SET_FEATURES, REQUEST.SET_OWNER, REQUEST.SET_VRING_NUM])
  await frontEnd.barrier()
  t.same(reports.messages, [
    'SET_OWNER',
    'GET_PROTOCOL_FEATURES',
    'SET_PROTOCOL_FEATURES',
    'GET_FEATURES',
    'SET_FEATURES',
    'GET_FEATURES',
    'SET_OWNER',
    'SET_VRING_NUM',
    'GET_FEATURES',
  ])
  await harness.leave()
})

/** A front end whose back end is played by the test. */
const played = () => {
  const [backEnd, there] = socketPair()
  const frontEnd = new FrontEnd(there)
  const done = () => {
    frontEnd.close()
    close(backEnd)
  }
  return { backEnd, frontEnd, done }
}

const answered = async (t: Test, reply: Uint8Array, code: string, fds: number[] = []) => {
  const { backEnd, frontEnd, done } = played()
  const answer = frontEnd.getQueueNum()
  put(backEnd, reply, fds)
  await t.rejects(soon('the answer', answer), { code })
  done()
}

leakless(t, 'what a back end may not answer', async (t) => {
  await answered(t, frame(REQUEST.GET_FEATURES, 0x5, u64Payload(2)), 'VUS_BAD_REPLY')
  await answered(t, frame(REQUEST.GET_QUEUE_NUM, 0xd, u64Payload(2)), 'VUS_BAD_REPLY')
  await answered(t, frame(REQUEST.GET_QUEUE_NUM, 0x1, u64Payload(2)), 'VUS_BAD_REPLY')
  await answered(t, frame(REQUEST.GET_QUEUE_NUM, 0x5, new Uint8Array(4)), 'VUS_BAD_REPLY')
  await answered(t, frame(REQUEST.GET_QUEUE_NUM, 0x5, new Uint8Array(8).fill(255)), 'VUS_NUMBER_RANGE')
  await answered(t, frame(REQUEST.GET_QUEUE_NUM, 0x5, new Uint8Array(3000)), 'VUS_PAYLOAD_TOO_LARGE')
  const fd = createEventfd()
  await answered(t, frame(REQUEST.GET_QUEUE_NUM, 0x5, new Uint8Array(4)), 'VUS_BAD_REPLY', [fd])
  close(fd)
})

leakless(t, 'a reply that nobody asked for ends the connection', async (t) => {
  const { backEnd, frontEnd, done } = played()
  put(backEnd, frame(REQUEST.GET_QUEUE_NUM, 0x5, u64Payload(2)))
  t.match(await soon('the end', frontEnd.closed), { code: 'VUS_BAD_REPLY' })
  await t.rejects(frontEnd.setOwner(), { code: 'VUS_DISCONNECTED' })
  await t.rejects(frontEnd.getFeatures(), { code: 'VUS_DISCONNECTED' })
  t.throws(() => frontEnd.sendRaw(new Uint8Array(1)), { code: 'VUS_DISCONNECTED' })
  done()
})

leakless(t, 'descriptors in a reply are the caller’s', async (t) => {
  const { backEnd, frontEnd, done } = played()
  const answer = frontEnd.request(REQUEST.GET_INFLIGHT_FD, new Uint8Array(24))
  const fd = createEventfd()
  put(backEnd, frame(REQUEST.GET_INFLIGHT_FD, 0x5, new Uint8Array(24)), [fd])
  close(fd)
  const reply = await soon('the answer', answer)
  t.equal(reply.fds.length, 1)
  t.equal(reply.view.byteLength, 24)
  t.equal(close(reply.fds[0]!), 0)
  done()
})

leakless(t, 'an inflight buffer with a descriptor, or none', async (t) => {
  const fields = (size: number | bigint) => naive([8, size], [8, 64], [2, 4], [2, 128], [4, 0])
  const ask = async (payload: Uint8Array, count: number) => {
    const { backEnd, frontEnd, done } = played()
    const answer = frontEnd.getInflightFd(4, 128)
    const fds = Array.from({ length: count }, () => createEventfd())
    put(backEnd, frame(REQUEST.GET_INFLIGHT_FD, 0x5, payload), fds)
    for (const fd of fds) close(fd)
    return soon('the answer', answer).finally(done)
  }
  const buffer = await ask(fields(4096), 1)
  t.match(buffer, { size: 4096, offset: 64, queues: 4, queueSize: 128 })
  t.equal(close(buffer!.fd), 0)
  t.equal(await ask(new Uint8Array(24), 0), undefined)
  await t.rejects(ask(fields(4096), 0), { code: 'VUS_BAD_REPLY' })
  await t.rejects(ask(fields(4096), 2), { code: 'VUS_BAD_REPLY' })
  await t.rejects(ask(fields(0), 1), { code: 'VUS_BAD_REPLY' })
  await t.rejects(ask(fields(4096).subarray(0, 20), 1), { code: 'VUS_BAD_REPLY' })
  await t.rejects(ask(fields(2n ** 53n), 1), { code: 'VUS_NUMBER_RANGE' })
})

leakless(t, 'SET_LOG_BASE waits for its reply once LOG_SHMFD is negotiated', async (t) => {
  const { backEnd, frontEnd, done } = played()
  const fd = createEventfd()
  const log = { fd, size: 4096, offset: 0 }
  await soon('nothing', frontEnd.setLogBase(log))
  await frontEnd.setProtocolFeatures(featureMask(VHOST_USER_PROTOCOL_F.LOG_SHMFD))
  const [good, bad] = [frontEnd.setLogBase(log), frontEnd.setLogBase(log)]
  close(fd)
  put(backEnd, frame(REQUEST.SET_LOG_BASE, 0x5, u64Payload(0)))
  put(backEnd, frame(REQUEST.SET_LOG_BASE, 0x5, u64Payload(1)))
  await soon('the answer', good)
  await t.rejects(soon('the refusal', bad), { code: 'VUS_NACK', request: REQUEST.SET_LOG_BASE })
  done()
})

leakless(t, 'a back end that goes away', async (t) => {
  const { backEnd, frontEnd } = played()
  const waiting: Promise<unknown>[] = [frontEnd.getFeatures(), frontEnd.getQueueNum()]
  await turn()
  // Otherwise the kernel would say that it was reset.
  take(backEnd)
  close(backEnd)
  for (const each of waiting) await t.rejects(soon('the refusal', each), { code: 'VUS_DISCONNECTED' })
  t.equal(await frontEnd.closed, undefined)
  frontEnd.close()
})

leakless(t, 'close() while a request waits', async (t) => {
  const { backEnd, frontEnd } = played()
  const waiting = frontEnd.getFeatures()
  frontEnd.close()
  await t.rejects(waiting, { code: 'VUS_DISCONNECTED' })
  t.equal(await frontEnd.closed, undefined)
  close(backEnd)
})

leakless(t, 'descriptors that are sent stay the sender’s', async (t) => {
  const files = new Files()
  const harness = new Harness()
  await harness.negotiate()
  const fd = files.memory()
  await harness.frontEnd.addMemReg(region(), fd)
  await harness.frontEnd.remMemReg(region())
  await harness.frontEnd.addMemReg(region(), fd)
  t.same(harness.device.take(), ['addMemory', 'removeMemory', 'addMemory'])
  await harness.leave()
  files.close()
})
