import { close, createEventfd } from 'memfd-mmap'
import t from 'tap'
import { definedRequests, FRONT_END_REQUEST as REQUEST, requestName } from 'vhost-user-protocol-ts'
import { frame } from '../../support/vhost-user/frame.js'
import { Harness, leakless } from '../../support/vhost-user/harness.js'
import { hex } from '../../support/vhost-user/naive.js'

/** Requests that a session refuses unless something was negotiated that it never offers, and what it says instead. */
const REPLIES: [request: number, reply: Uint8Array][] = [
  [REQUEST.IOTLB_MSG, hex('0100000000000000')],
  [REQUEST.POSTCOPY_ADVISE, hex('')],
  [REQUEST.POSTCOPY_END, hex('0100000000000000')],
  [REQUEST.GET_INFLIGHT_FD, new Uint8Array(24)],
  [REQUEST.GET_MAX_MEM_SLOTS, new Uint8Array(8)],
  [REQUEST.GET_SHARED_OBJECT, hex('00112233445566778899aabbccddeeff')],
  [REQUEST.SET_DEVICE_STATE_FD, hex('0101000000000000')],
  [REQUEST.CHECK_DEVICE_STATE, hex('0100000000000000')],
  [REQUEST.GET_SHMEM_CONFIG, new Uint8Array(2056)],
]

/** Refused in the log alone. */
const DISPENSABLE = [
  REQUEST.SET_LOG_FD,
  REQUEST.SEND_RARP,
  REQUEST.NET_SET_MTU,
  REQUEST.SET_BACKEND_REQ_FD,
  REQUEST.SET_INFLIGHT_FD,
  REQUEST.SET_STATUS,
]

/** Without an acknowledgement the front end would go on in the belief that they were carried out. */
const FATAL = [
  REQUEST.SET_LOG_BASE,
  REQUEST.SET_VRING_ENDIAN,
  REQUEST.CLOSE_CRYPTO_SESSION,
  REQUEST.POSTCOPY_LISTEN,
  REQUEST.GPU_SET_SOCKET,
  REQUEST.RESET_DEVICE,
  REQUEST.VRING_KICK,
  REQUEST.ADD_MEM_REG,
  REQUEST.REM_MEM_REG,
]

/** Their replies cannot say no, and an acknowledgement would be taken for one of them. */
const UNANSWERABLE = [REQUEST.GET_STATUS, REQUEST.CREATE_CRYPTO_SESSION, REQUEST.GET_VRING_BASE_SKIP_DRAIN]

const info = (request: number) => definedRequests().find(({ code }) => code === request)!
const fdsFor = (request: number): number[] => Array.from({ length: info(request).minFds }, () => createEventfd())

for (const [request, expected] of REPLIES) {
  leakless(t, `${requestName(request)} is refused in its own reply`, async (t) => {
    const harness = new Harness()
    const payload = new Uint8Array(info(request).maxPayload)
    if (request === REQUEST.GET_SHARED_OBJECT) payload.set(expected)
    const fds = fdsFor(request)
    const reply = await harness.frontEnd.request(request, payload, fds)
    for (const fd of fds) close(fd)
    t.same(reply.bytes, expected)
    t.equal(reply.fds.length, 0)
    await harness.frontEnd.barrier()
    t.equal(harness.reports.codes('warn').length, 1)
    await harness.leave()
  })
}

for (const request of [...DISPENSABLE, ...FATAL]) {
  leakless(t, `${requestName(request)} is refused by a nack`, async (t) => {
    const harness = new Harness()
    const { frontEnd, device } = harness
    // Only REPLY_ACK.
    await frontEnd.setProtocolFeatures(8n)
    const fds = fdsFor(request)
    const payload = new Uint8Array(info(request).maxPayload)
    await t.rejects(frontEnd.command(request, payload, fds), { code: 'VUS_NACK', request })
    for (const fd of fds) close(fd)
    t.same(device.take(), [])
    t.equal((await harness.leave()).code, 'VUS_PEER_CLOSED')
  })
}

for (const [requests, goesOn] of [
  [DISPENSABLE, true],
  [FATAL, false],
  [UNANSWERABLE, false],
] as const) {
  for (const request of requests) {
    leakless(
      t,
      `${requestName(request)} without need_reply: ${goesOn ? 'a line in the log' : 'the end'}`,
      async (t) => {
        const harness = new Harness()
        const fds = fdsFor(request)
        harness.frontEnd.sendRaw(frame(request, 0x1, new Uint8Array(info(request).maxPayload)), fds)
        for (const fd of fds) close(fd)
        if (goesOn) {
          await harness.frontEnd.barrier()
          t.same(harness.reports.codes('warn').length, 1)
          t.equal((await harness.leave()).code, 'VUS_PEER_CLOSED')
        } else {
          t.match((await harness.ended()).code, /^VUS_(NOT_NEGOTIATED|UNSUPPORTED)$/)
          harness.frontEnd.close()
        }
      },
    )
  }
}

t.test('these are all requests that a session does not serve', async (t) => {
  const served = new Set<number>([
    REQUEST.GET_FEATURES,
    REQUEST.SET_FEATURES,
    REQUEST.SET_OWNER,
    REQUEST.RESET_OWNER,
    REQUEST.SET_MEM_TABLE,
    REQUEST.SET_VRING_NUM,
    REQUEST.SET_VRING_ADDR,
    REQUEST.SET_VRING_BASE,
    REQUEST.GET_VRING_BASE,
    REQUEST.SET_VRING_KICK,
    REQUEST.SET_VRING_CALL,
    REQUEST.SET_VRING_ERR,
    REQUEST.GET_PROTOCOL_FEATURES,
    REQUEST.SET_PROTOCOL_FEATURES,
    REQUEST.GET_QUEUE_NUM,
    REQUEST.SET_VRING_ENABLE,
    REQUEST.GET_CONFIG,
    REQUEST.SET_CONFIG,
  ])
  const refused = [...REPLIES.map(([request]) => request), ...DISPENSABLE, ...FATAL, ...UNANSWERABLE]
  t.equal(new Set(refused).size, refused.length)
  t.same(
    definedRequests()
      .map(({ code }) => code)
      .filter((code) => !served.has(code)),
    refused.sort((a, b) => a - b),
  )
})
