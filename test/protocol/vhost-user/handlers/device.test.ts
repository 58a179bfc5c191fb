import { close, createEventfd, ERRNO, MessageSocket, socketPair } from 'memfd-mmap'
import t from 'tap'
import { FRONT_END_REQUEST, featureMask, VHOST_USER_PROTOCOL_F } from 'vhost-user-protocol-ts'
import { frame } from '../../../support/vhost-user/frame.js'
import { Files, Harness, leakless, soon } from '../../../support/vhost-user/harness.js'
import { RecordingDevice } from '../../../support/vhost-user/recording-device.js'
import { put, take, turn } from '../../../support/vhost-user/wire.js'

const withStatus = (): RecordingDevice => {
  const device = new RecordingDevice()
  device.protocolFeatures |= featureMask(VHOST_USER_PROTOCOL_F.STATUS)
  return device
}

/** Whether the other end of a socket is open. Nothing must wait to be read. */
const isOpen = (fd: number): boolean => new MessageSocket(fd).receive(new Uint8Array(1), 0, 1, []) === -ERRNO.EAGAIN

const startRing = async (harness: Harness, files: Files, index: number): Promise<void> => {
  const { frontEnd } = harness
  const { size, desc, avail, used, kickFd } = files.ring(index)
  await frontEnd.setVringNum(index, size)
  await frontEnd.setVringAddr({ index, flags: 0, desc, avail, used, log: 0 })
  await frontEnd.setVringKick(index, kickFd)
  await frontEnd.setVringEnable(index, true)
}

leakless(t, 'RESET_DEVICE: before any start, many times, and with rings running', async (t) => {
  const files = new Files()
  const harness = new Harness()
  const { frontEnd, device, session } = harness
  await harness.negotiate()
  for (let i = 0; i < 3; i++) await frontEnd.resetDevice()
  t.same(device.take(), ['reset', 'reset', 'reset'])
  await startRing(harness, files, 0)
  await startRing(harness, files, 2)
  device.take()
  const features = session.features
  await frontEnd.resetDevice()
  t.same(device.take(), ['stopRing 0', 'stopRing 2', 'reset'])
  t.same([...device.discards.values()], [true, true], 'where they stood does not matter any more')
  t.match(session.rings[2], { started: false, enabled: false, size: 0 })
  t.equal(session.features, features)
  await startRing(harness, files, 2)
  t.same(device.take(), ['startRing 2'])
  await harness.leave()
  files.close()
})

leakless(t, 'owner messages; RESET_OWNER disables the rings', async (t) => {
  const files = new Files()
  const harness = new Harness()
  const { frontEnd, device, session } = harness
  await harness.negotiate()
  await frontEnd.setOwner()
  await frontEnd.setOwner()
  await startRing(harness, files, 2)
  device.take()
  await frontEnd.resetOwner()
  t.same(device.take(), ['stopRing 2'])
  t.equal(device.discards.get(2), false)
  t.match(session.rings[2], { started: true, enabled: false })
  await frontEnd.setVringEnable(2, true)
  t.same(device.take(), ['startRing 2'])
  await harness.leave()
  files.close()
})

leakless(t, 'config space, negotiated or not', async (t) => {
  const device = new RecordingDevice()
  device.config = Uint8Array.from({ length: 36 }, (_, i) => i)
  const harness = new Harness(device)
  const { frontEnd } = harness
  t.same(await frontEnd.getConfig(0, 36), device.config)
  t.same(await frontEnd.getConfig(20, 4), Uint8Array.of(20, 21, 22, 23))
  await harness.negotiate()
  await frontEnd.setConfig(20, Uint8Array.of(96, 0, 0, 0))
  t.same(await frontEnd.getConfig(20, 4), Uint8Array.of(96, 0, 0, 0))
  await frontEnd.setConfig(0, Uint8Array.of(9), 1)
  t.same(await frontEnd.getConfig(0, 1), Uint8Array.of(9))
  t.same(await frontEnd.getConfig(34, 4), Uint8Array.of(34, 35, 0, 0), 'what the device does not have is zero')
  await t.rejects(frontEnd.setConfig(40, new Uint8Array(4)), { code: 'VUS_NACK' })
  t.same(harness.reports.codes('warn'), ['VUS_CONFIG_REFUSED'])
  await harness.leave()
})

leakless(t, 'no config space', async (t) => {
  const harness = new Harness(new RecordingDevice(), { needReply: () => false })
  const { frontEnd } = harness
  t.equal(await frontEnd.getConfig(0, 36), undefined, 'an empty payload')
  await frontEnd.setConfig(20, new Uint8Array(4))
  t.equal(await frontEnd.getConfig(0, 36), undefined, 'a write that is refused does not end the connection')
  t.same(harness.device.take(), ['readConfig 0', 'writeConfig 20', 'readConfig 0'])
  await harness.leave()
})

leakless(t, 'a config read beyond 256 bytes gets the empty payload', async (t) => {
  const harness = new Harness()
  const payload = new Uint8Array(268)
  new DataView(payload.buffer).setUint32(4, 257, true)
  const reply = await harness.frontEnd.request(FRONT_END_REQUEST.GET_CONFIG, payload)
  t.equal(reply.bytes.length, 0)
  t.same(harness.device.take(), [])
  t.same(harness.reports.codes('warn'), ['VUS_CONFIG_RANGE'])
  await harness.leave()
})

leakless(t, 'the status register: for show, but 0 resets', async (t) => {
  const files = new Files()
  const harness = new Harness(withStatus())
  const { frontEnd, device } = harness
  await harness.negotiate()
  t.equal(await frontEnd.getStatus(), 0)
  await frontEnd.setStatus(8)
  t.equal(await frontEnd.getStatus(), 8)
  await startRing(harness, files, 2)
  t.same(device.take(), ['startRing 2'], 'without DRIVER_OK')
  await frontEnd.setStatus(0x1ff)
  t.equal(await frontEnd.getStatus(), 0xff)
  await frontEnd.setStatus(0)
  t.same(device.take(), ['stopRing 2', 'reset'])
  await frontEnd.setStatus(1)
  await frontEnd.resetDevice()
  t.equal(await frontEnd.getStatus(), 0)
  await harness.leave()
  files.close()
})

leakless(t, 'SET_BACKEND_REQ_FD: kept, replaced, closed with the connection', async (t) => {
  const harness = new Harness(new RecordingDevice().offerMigration())
  const { frontEnd, reports } = harness
  await harness.negotiate()
  const ends: number[] = []
  for (let i = 0; i < 3; i++) {
    const [channel, end] = socketPair()
    await frontEnd.setBackendReqFd(channel)
    close(channel)
    ends.push(end)
    // The ones before are closed: their peers find nobody. The new one is open, and silent.
    t.same(
      ends.map((fd) => take(fd) === undefined && isOpen(fd)),
      ends.map((_, j) => j === i),
    )
  }
  await harness.leave()
  t.same(ends.map(isOpen), [false, false, false])
  for (const fd of ends) close(fd)
  t.same(reports.codes('warn'), [])
})

leakless(t, 'a channel that ends, or on which something comes, does not end the connection', async (t) => {
  for (const end of ['closed', 'bytes'] as const) {
    const harness = new Harness(new RecordingDevice().offerMigration())
    const { frontEnd, reports } = harness
    await harness.negotiate()
    const [channel, there] = socketPair()
    await frontEnd.setBackendReqFd(channel)
    close(channel)
    if (end === 'bytes') put(there, new Uint8Array(20))
    else close(there)
    const code = end === 'bytes' ? 'VUS_CHANNEL_MESSAGE' : 'VUS_CHANNEL_CLOSED'
    const seen = async (): Promise<void> => {
      while (!reports.all.some((report) => report.code === code)) await turn()
    }
    await soon('the end of the channel', seen())
    if (end === 'bytes') close(there)
    await frontEnd.barrier()
    const [again, other] = socketPair()
    await frontEnd.setBackendReqFd(again)
    close(again)
    t.equal(isOpen(other), true, 'there may be another one')
    t.equal((await harness.leave()).code, 'VUS_PEER_CLOSED')
    close(other)
  }
})

leakless(t, 'what is no channel is refused, and the one before stays', async (t) => {
  const harness = new Harness(new RecordingDevice().offerMigration())
  const { frontEnd, reports } = harness
  await harness.negotiate()
  const [channel, there] = socketPair()
  await frontEnd.setBackendReqFd(channel)
  const event = createEventfd()
  await t.rejects(frontEnd.setBackendReqFd(event), { code: 'VUS_NACK' })
  frontEnd.sendRaw(frame(FRONT_END_REQUEST.SET_BACKEND_REQ_FD, 0x1), [event])
  await frontEnd.barrier()
  t.same(reports.codes('warn'), ['VUS_NOT_A_CHANNEL'])
  t.equal(isOpen(there), true)
  for (const fd of [channel, event]) close(fd)
  frontEnd.sendRaw(frame(FRONT_END_REQUEST.SET_BACKEND_REQ_FD, 0x9), [])
  t.equal((await harness.ended()).code, 'VUS_FD_COUNT')
  t.equal(isOpen(there), false)
  close(there)
  frontEnd.close()
})
