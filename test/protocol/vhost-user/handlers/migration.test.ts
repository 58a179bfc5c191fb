import { close, createEventfd, createMemfd, fileSize, MessageSocket, socketPair } from 'memfd-mmap'
import t from 'tap'
import {
  BackendSession,
  DeviceError,
  encodeInflight,
  encodeLog,
  type FrontEndOptions,
  featureMask,
  maskPayload,
  FRONT_END_REQUEST as REQUEST,
  type SharedPart,
  VHOST_F,
} from 'vhost-user-protocol-ts'
import { frame } from '../../../support/vhost-user/frame.js'
import { Files, Harness, leakless, soon } from '../../../support/vhost-user/harness.js'
import { hex } from '../../../support/vhost-user/naive.js'
import { INFLIGHT_BYTES, RecordingDevice } from '../../../support/vhost-user/recording-device.js'
import { put, turn } from '../../../support/vhost-user/wire.js'

const LOG_BYTES = 4096
const VERSION = 0x1
const NEED_REPLY = 0x9
/** REPLY_ACK alone. */
const REPLY_ACK = 8n

const QEMU: FrontEndOptions = { needReply: () => false }

const negotiated = async (options?: FrontEndOptions): Promise<Harness> => {
  const harness = new Harness(new RecordingDevice().offerMigration(), options)
  await harness.negotiate()
  return harness
}

/** Calls `use` with a file, and closes it. */
const withFile = async (bytes: number, use: (fd: number) => Promise<unknown>): Promise<void> => {
  const fd = createMemfd('shared', bytes)
  try {
    await use(fd)
  } finally {
    close(fd)
  }
}

const logPayload = (size: number, offset: number): Uint8Array => {
  const payload = new Uint8Array(16)
  encodeLog(new DataView(payload.buffer), 0, { mmapSize: size, mmapOffset: offset })
  return payload
}

const inflightPayload = (numQueues: number, queueSize: number, mmapSize = 0, mmapOffset = 0): Uint8Array => {
  const payload = new Uint8Array(24)
  encodeInflight(new DataView(payload.buffer), 0, { mmapSize, mmapOffset, numQueues, queueSize })
  return payload
}

/** What the device was told last. */
const told = (device: RecordingDevice): unknown => device.calls.splice(0).at(-1)?.args[0]

leakless(t, 'SET_LOG_BASE is answered whether need_reply is set or not, and may come again', async (t) => {
  for (const options of [QEMU, {}]) {
    const harness = await negotiated(options)
    const { frontEnd, device } = harness
    for (const [size, offset] of [
      [LOG_BYTES, 0],
      [LOG_BYTES / 2, 64],
    ] as const) {
      await withFile(LOG_BYTES, (fd) => frontEnd.setLogBase({ fd, size, offset }))
      t.same(told(device), { size, offset })
    }
    await frontEnd.barrier()
    t.same(harness.reports.codes('warn'), [])
    await harness.leave()
  }
})

leakless(t, 'the reply to SET_LOG_BASE comes when the device has it', async (t) => {
  const harness = await negotiated(QEMU)
  const { frontEnd, device } = harness
  const release = device.hold('setLog')
  const called = device.called('setLog')
  let answered = false
  await withFile(LOG_BYTES, async (fd) => {
    const log = frontEnd.setLogBase({ fd, size: LOG_BYTES, offset: 0 }).then(() => {
      answered = true
    })
    await called
    t.equal(answered, false)
    release()
    await log
  })
  await harness.leave()
})

leakless(t, 'a log that cannot be used: a nack for who asked, the end for who did not', async (t) => {
  const parts: [name: string, code: string, log: Omit<SharedPart, 'fd'>][] = [
    ['empty', 'VUS_LOG_SIZE', { size: 0, offset: 0 }],
    ['too long', 'VUS_LOG_SIZE', { size: 2 ** 52 + 1, offset: 2 ** 52 }],
    ['refused by the device', 'NO_LOG', { size: LOG_BYTES, offset: 0 }],
  ]
  for (const [name, code, log] of parts) {
    for (const options of [QEMU, {}]) {
      const harness = await negotiated(options)
      const { frontEnd, device } = harness
      device.fail('setLog', new DeviceError('NO_LOG', 'not this one'))
      const nack = options === QEMU ? 'VUS_DISCONNECTED' : 'VUS_NACK'
      await withFile(LOG_BYTES, (fd) => t.rejects(frontEnd.setLogBase({ fd, ...log }), { code: nack }, name))
      if (options === QEMU) t.equal((await harness.ended()).code, code, name)
      else t.same(harness.reports.codes('warn'), [code], name)
      await harness.leave()
    }
  }
})

leakless(t, 'what is no SET_LOG_BASE ends the connection', async (t) => {
  for (const [payload, fds, code] of [
    [logPayload(LOG_BYTES, 0).subarray(0, 8), 1, 'VUS_PAYLOAD_SIZE'],
    [logPayload(LOG_BYTES, 0), 0, 'VUS_FD_COUNT'],
    [logPayload(LOG_BYTES, 0), 2, 'VUS_FD_COUNT'],
    [hex('ffffffffffffffff 0000000000000000'), 1, 'VUS_NUMBER_RANGE'],
  ] as const) {
    const harness = await negotiated()
    const events = Array.from({ length: fds }, () => createEventfd())
    harness.frontEnd.sendRaw(frame(REQUEST.SET_LOG_BASE, NEED_REPLY, payload), events)
    for (const fd of events) close(fd)
    t.equal((await harness.ended()).code, code)
    t.same(harness.device.take(), ['disconnect'])
    harness.frontEnd.close()
  }
})

leakless(t, 'logging is turned on and off while rings run, as QEMU does it', async (t) => {
  const files = new Files()
  const harness = await negotiated({ needReply: (request) => request !== REQUEST.SET_LOG_BASE })
  const { frontEnd, device } = harness
  const plain = device.features & ~featureMask(VHOST_F.LOG_ALL)
  await frontEnd.setFeatures(plain)
  const { size, desc, avail, used, kickFd } = files.ring(2)
  const addresses = { index: 2, desc, avail, used, log: 0x7000 }
  await frontEnd.setVringNum(2, size)
  await frontEnd.setVringAddr({ ...addresses, flags: 0 })
  await frontEnd.setVringKick(2, kickFd)
  await frontEnd.setVringEnable(2, true)
  t.match(device.running.get(2), { flags: 0, features: plain })
  device.bases.set(2, 77)
  device.take()
  await withFile(LOG_BYTES, (fd) => frontEnd.setLogBase({ fd, size: LOG_BYTES, offset: 0 }))
  await frontEnd.setFeatures(device.features)
  await frontEnd.setVringAddr({ ...addresses, flags: 1 })
  t.same(device.take(), ['setLog', 'setFeatures', 'stopRing 2', 'startRing 2'])
  t.match(device.running.get(2), { flags: 1, logAddress: 0x7000, base: 77, features: device.features })
  await withFile(LOG_BYTES, (fd) => frontEnd.setLogBase({ fd, size: LOG_BYTES, offset: 0 }))
  t.same(device.take(), ['setLog'], 'a larger log: the ring goes on')
  await frontEnd.setFeatures(plain)
  await frontEnd.setVringAddr({ ...addresses, flags: 0 })
  t.same(device.take(), ['setFeatures', 'stopRing 2', 'startRing 2'])
  t.match(device.running.get(2), { flags: 0, features: plain })
  await harness.leave()
  files.close()
})

leakless(t, 'GET_INFLIGHT_FD: a buffer, and its descriptor is not kept', async (t) => {
  const harness = await negotiated()
  const { frontEnd, device } = harness
  const buffer = await frontEnd.getInflightFd(4, 128)
  t.match(buffer, { size: INFLIGHT_BYTES, offset: 64, queues: 4, queueSize: 128 })
  t.equal(fileSize(buffer!.fd), INFLIGHT_BYTES)
  close(buffer!.fd)
  t.same(told(device), { queues: 4, queueSize: 128 })
  await harness.leave()
})

leakless(t, 'the reply is as long as the request: 24 bytes for QEMU, 20 for the fields alone', async (t) => {
  const harness = await negotiated()
  for (const bytes of [24, 20]) {
    const payload = inflightPayload(3, 256).subarray(0, bytes)
    const reply = await harness.frontEnd.request(REQUEST.GET_INFLIGHT_FD, payload)
    t.same(reply.bytes, hex('0020000000000000 4000000000000000 0300 0001 00000000').subarray(0, bytes))
    t.equal(reply.fds.length, 1)
    for (const fd of reply.fds) close(fd)
  }
  await harness.leave()
})

leakless(t, 'no buffer: no bytes and no descriptor, and the connection goes on', async (t) => {
  const harness = await negotiated()
  const { frontEnd, device } = harness
  for (const [queues, queueSize] of [
    [0, 128],
    [5, 128],
    [4, 0],
    [4, 32769],
  ] as const) {
    t.equal(await frontEnd.getInflightFd(queues, queueSize), undefined)
  }
  t.same(device.take(), [], 'the device is not asked for what cannot be')
  device.fail('createInflight', new DeviceError('NO_BUFFER', 'not for these'))
  t.equal(await frontEnd.getInflightFd(4, 32768), undefined)
  t.same(harness.reports.codes('warn'), ['VUS_INFLIGHT_SIZE', 'NO_BUFFER'])
  t.equal((await harness.leave()).code, 'VUS_PEER_CLOSED')
})

leakless(t, 'a front end that does not read what it asks for', async (t) => {
  const [here, there] = socketPair()
  const device = new RecordingDevice().offerMigration()
  const session = new BackendSession(here, device)
  const bytes = frame(REQUEST.GET_INFLIGHT_FD, VERSION, inflightPayload(4, 128))
  put(there, frame(REQUEST.SET_PROTOCOL_FEATURES, VERSION, maskPayload(device.protocolFeatures)))
  const socket = new MessageSocket(there)
  // Until the session reads no more: its replies fill the socket, and one waits, with its descriptor.
  for (let idle = 0; idle < 50; ) {
    if (socket.send(bytes, 0, bytes.length) === bytes.length) {
      idle = 0
    } else {
      idle++
      await turn()
    }
  }
  t.ok(device.calls.length > 0)
  close(there)
  t.match((await soon('the end', session.closed)).code, /^VUS_(PEER_CLOSED|SOCKET_ERROR)$/)
})

leakless(t, 'SET_INFLIGHT_FD reaches the device, also while rings run', async (t) => {
  const harness = await negotiated()
  const { frontEnd, device } = harness
  for (const offset of [0, 64]) {
    const buffer = { size: INFLIGHT_BYTES, offset, queues: 4, queueSize: 128 }
    await withFile(INFLIGHT_BYTES, (fd) => frontEnd.setInflightFd({ fd, ...buffer }))
    t.same(told(device), buffer)
  }
  await harness.leave()
})

leakless(t, 'an inflight buffer that cannot be used: a nack for who asked, the end for who did not', async (t) => {
  const good = { size: INFLIGHT_BYTES, offset: 0, queues: 4, queueSize: 128 }
  for (const [name, code, buffer] of [
    ['empty', 'VUS_INFLIGHT_SIZE', { ...good, size: 0 }],
    ['too long', 'VUS_INFLIGHT_SIZE', { ...good, size: 2 ** 52 + 1, offset: 2 ** 52 }],
    ['no queues', 'VUS_INFLIGHT_SIZE', { ...good, queues: 0 }],
    ['too many queues', 'VUS_INFLIGHT_SIZE', { ...good, queues: 5 }],
    ['no entries', 'VUS_INFLIGHT_SIZE', { ...good, queueSize: 0 }],
    ['too many entries', 'VUS_INFLIGHT_SIZE', { ...good, queueSize: 32769 }],
    ['refused by the device', 'NO_BUFFER', good],
  ] as const) {
    for (const options of [QEMU, {}]) {
      const harness = await negotiated(options)
      const { frontEnd, device } = harness
      device.fail('setInflight', new DeviceError('NO_BUFFER', 'not this one'))
      await withFile(INFLIGHT_BYTES, async (fd) => {
        const set = frontEnd.setInflightFd({ fd, ...buffer })
        if (options === QEMU) await set
        else await t.rejects(set, { code: 'VUS_NACK' }, name)
      })
      if (options === QEMU) t.equal((await harness.ended()).code, code, name)
      else t.same(harness.reports.codes('warn'), [code], name)
      await harness.leave()
    }
  }
})

leakless(t, 'not negotiated: refused as if it were unknown', async (t) => {
  const harness = new Harness(new RecordingDevice().offerMigration())
  const { frontEnd, device } = harness
  await frontEnd.setProtocolFeatures(REPLY_ACK)
  await withFile(LOG_BYTES, async (fd) => {
    await t.rejects(frontEnd.setLogBase({ fd, size: LOG_BYTES, offset: 0 }), { code: 'VUS_NACK' })
    await t.rejects(frontEnd.setInflightFd({ fd, size: LOG_BYTES, offset: 0, queues: 4, queueSize: 8 }), {
      code: 'VUS_NACK',
    })
    t.equal(await frontEnd.getInflightFd(4, 128), undefined)
    // Nobody is told, and nothing happens: the connection goes on.
    frontEnd.sendRaw(frame(REQUEST.SET_INFLIGHT_FD, VERSION, inflightPayload(4, 8, LOG_BYTES)), [fd])
    await frontEnd.barrier()
  })
  t.same(device.take(), [])
  t.same(
    harness.reports.all.filter(({ level }) => level === 'warn').map(({ code }) => code),
    ['VUS_NOT_NEGOTIATED', 'VUS_NOT_NEGOTIATED', 'VUS_NOT_NEGOTIATED'],
  )
  await harness.leave()
})

leakless(t, 'SET_LOG_FD is refused: nothing is signalled at each write', async (t) => {
  const harness = await negotiated()
  const event = createEventfd()
  await t.rejects(harness.frontEnd.command(REQUEST.SET_LOG_FD, new Uint8Array(8), [event]), { code: 'VUS_NACK' })
  harness.frontEnd.sendRaw(frame(REQUEST.SET_LOG_FD, VERSION), [event])
  await harness.frontEnd.barrier()
  close(event)
  t.equal((await harness.leave()).code, 'VUS_PEER_CLOSED')
})
