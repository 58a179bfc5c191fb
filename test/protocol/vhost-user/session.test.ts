import { close, createEventfd, createMemfd, socketPair } from 'memfd-mmap'
import t from 'tap'
import {
  BackendSession,
  Connection,
  DeviceError,
  FRONT_END_REQUEST,
  FrontEnd,
  featureMask,
  SILENT,
  VHOST_USER_PROTOCOL_F,
} from 'vhost-user-protocol-ts'
import { frame } from '../../support/vhost-user/frame.js'
import { Files, Harness, leakless, MEMORY_SIZE, region, soon } from '../../support/vhost-user/harness.js'
import { RecordingDevice } from '../../support/vhost-user/recording-device.js'
import { turn } from '../../support/vhost-user/wire.js'

/** A harness with memory and ring `index` running. */
const running = async (files: Files, ...indexes: number[]) => {
  const harness = new Harness()
  const { frontEnd, device } = harness
  await harness.negotiate()
  await frontEnd.addMemReg(region(), files.memory())
  for (const index of indexes) {
    const ring = files.ring(index)
    await frontEnd.setVringNum(index, ring.size)
    await frontEnd.setVringAddr({ index, flags: 0, desc: ring.desc, avail: ring.avail, used: ring.used, log: 0 })
    await frontEnd.setVringCall(index, ring.callFd)
    await frontEnd.setVringKick(index, ring.kickFd)
    await frontEnd.setVringEnable(index, true)
  }
  device.take()
  return harness
}

leakless(t, 'a front end that leaves: rings stop, then the device is told, then the session is over', async (t) => {
  const files = new Files()
  const harness = await running(files, 0, 2)
  t.same(await harness.leave(), { code: 'VUS_PEER_CLOSED', message: 'the front end closed the connection' })
  t.same(harness.device.take(), ['stopRing 0', 'stopRing 2', 'disconnect'])
  t.same([...harness.device.discards.values()], [true, true])
  t.same(harness.reports.codes('info'), ['VUS_PEER_CLOSED'])
  files.close()
})

leakless(t, 'a session that is closed from this side', async (t) => {
  const files = new Files()
  const harness = await running(files, 2)
  const [first, second] = [harness.session.close(), harness.session.close()]
  t.equal((await first).code, 'VUS_LOCAL_CLOSE')
  t.equal(await second, await first)
  t.same(harness.device.take(), ['stopRing 2', 'disconnect'])
  t.same([...harness.device.discards.values()], [false], 'the front end is still there to see answers')
  t.equal(await soon('the front end’s end', harness.frontEnd.closed), undefined)
  files.close()
})

leakless(t, 'close() waits for the request at hand, the socket for the rings', async (t) => {
  const files = new Files()
  const harness = await running(files, 2)
  const { session, device, frontEnd } = harness
  const releaseAdd = device.hold('addMemory')
  const called = device.called('addMemory')
  const add = frontEnd.addMemReg(region(1), files.memory())
  add.catch(() => {})
  await soon('addMemory', called)
  const closed = session.close()
  await turn()
  t.same(device.take(), ['addMemory'])
  const releaseStop = device.hold('stopRing')
  const stopping = device.called('stopRing')
  releaseAdd()
  await soon('stopRing', stopping)
  let over = false
  frontEnd.closed.then(() => {
    over = true
  })
  await turn()
  await turn()
  t.equal(over, false, 'a front end that reconnects would find the ring at work')
  releaseStop()
  await soon('the end', closed)
  await t.rejects(soon('the refusal', add), { code: 'VUS_DISCONNECTED' })
  files.close()
})

leakless(t, 'an acknowledgement waits for the device, and so does the next message', async (t) => {
  const files = new Files()
  const harness = await running(files)
  const { frontEnd, device } = harness
  const release = device.hold('addMemory')
  const called = device.called('addMemory')
  let acked = false
  const add = frontEnd.addMemReg(region(1), files.memory()).then(() => {
    acked = true
  })
  const reset = frontEnd.resetDevice()
  await soon('addMemory', called)
  await turn()
  await turn()
  t.equal(acked, false)
  t.same(device.take(), ['addMemory'])
  release()
  await soon('both', Promise.all([add, reset]))
  t.same(device.take(), ['reset'])
  await harness.leave()
  files.close()
})

leakless(t, 'need_reply without REPLY_ACK is not answered', async (t) => {
  const harness = new Harness()
  harness.frontEnd.sendRaw(frame(FRONT_END_REQUEST.SET_OWNER, 0x9))
  // An answer to SET_OWNER would be taken for one to GET_FEATURES, and end the front end.
  await harness.frontEnd.barrier()
  t.equal((await harness.leave()).code, 'VUS_PEER_CLOSED')
})

leakless(t, 'a device that refuses: a nack for who asked, the end for who did not', async (t) => {
  const files = new Files()
  for (const needReply of [true, false]) {
    const harness = new Harness(new RecordingDevice(), { needReply: () => needReply })
    const { frontEnd, device } = harness
    await harness.negotiate()
    device.fail('addMemory', new DeviceError('CANNOT_MAP', 'no room'))
    const add = frontEnd.addMemReg(region(), files.memory())
    if (needReply) {
      await t.rejects(add, { code: 'VUS_NACK', request: FRONT_END_REQUEST.ADD_MEM_REG, value: 1n })
      t.same(harness.session.regions, [])
      await frontEnd.addMemReg(region(), files.memory())
      t.same(harness.session.regions, [region()])
      t.same(harness.reports.codes('warn'), ['CANNOT_MAP'])
      await harness.leave()
    } else {
      await add
      t.match(await harness.ended(), { code: 'CANNOT_MAP', message: /ADD_MEM_REG: no room/ })
      t.same(harness.reports.codes('error'), ['CANNOT_MAP'])
      t.same(device.take(), ['addMemory', 'disconnect'])
      harness.frontEnd.close()
    }
  }
  files.close()
})

leakless(t, 'what nobody foresaw ends the connection, not the process', async (t) => {
  const files = new Files()
  const harness = await running(files, 2)
  const { frontEnd, device, reports } = harness
  device.fail('reset', new TypeError('x is not a function'))
  await t.rejects(frontEnd.resetDevice(), { code: 'VUS_DISCONNECTED' })
  t.match(await harness.ended(), { code: 'VUS_INTERNAL', message: /x is not a function/ })
  t.same(reports.codes('error'), ['VUS_INTERNAL'])
  t.same(device.take(), ['stopRing 2', 'reset', 'disconnect'])
  const throwing = new RecordingDevice()
  throwing.readConfig = () => {
    throw 'a string'
  }
  const second = new Harness(throwing)
  await t.rejects(second.frontEnd.getConfig(0, 4), { code: 'VUS_DISCONNECTED' })
  t.match(await second.ended(), { code: 'VUS_INTERNAL', message: 'a string' })
  files.close()
})

leakless(t, 'a ring that does not stop is reported; the others are stopped all the same', async (t) => {
  const files = new Files()
  const harness = await running(files, 0, 1, 2)
  const { device, reports } = harness
  device.fail('stopRing', new Error('drain'))
  device.disconnect = async () => {
    device.running.clear()
  }
  await harness.leave()
  t.same(device.take(), ['stopRing 0', 'stopRing 1', 'stopRing 2'])
  t.same(reports.codes('error'), ['VUS_DEVICE_STUCK'])
  files.close()
})

leakless(t, 'a ring that fails at once does not hide one that is still at work', async (t) => {
  const files = new Files()
  const harness = await running(files, 0, 1)
  const { device } = harness
  const stopRing = device.stopRing.bind(device)
  let release = (): void => {}
  const gate = new Promise<void>((resolve) => {
    release = resolve
  })
  const atWork = new Promise<void>((resolve) => {
    device.stopRing = async (index) => {
      if (index === 0) {
        device.running.delete(0)
        throw new Error('drain')
      }
      resolve()
      await gate
      return stopRing(index)
    }
  })
  harness.frontEnd.close()
  await soon('stopRing 1', atWork)
  await turn()
  await turn()
  t.same(device.take(), [], 'no disconnect yet')
  release()
  await harness.ended()
  t.same(device.take(), ['stopRing 1', 'disconnect'])
  files.close()
})

t.test(
  'a device that does not disconnect keeps its descriptors: another file must not get their numbers',
  async (t) => {
    const files = new Files()
    const harness = await running(files, 2)
    const { device, reports } = harness
    const setup = device.running.get(2)!
    device.fail('disconnect', new Error('busy'))
    await harness.leave()
    t.same(reports.codes('error'), ['VUS_DEVICE_STUCK'])
    t.equal(close(setup.kickFd), 0, 'still open')
    t.equal(close(setup.callFd), 0, 'still open')
    files.close()
  },
)

leakless(t, 'reports that fail do no harm', async (t) => {
  const [here, there] = socketPair()
  const report = {
    event: () => {
      throw new Error('the log is full')
    },
  }
  const session = new BackendSession(here, new RecordingDevice(), { report })
  const frontEnd = new FrontEnd(there)
  await frontEnd.barrier()
  frontEnd.close()
  t.equal((await session.closed).code, 'VUS_PEER_CLOSED')
})

leakless(t, 'without a reporter, over a connection that was made before', async (t) => {
  const [here, there] = socketPair()
  SILENT.event('info', 'X', '')
  const session = new BackendSession(new Connection(here, { direction: 'requests' }), new RecordingDevice())
  const frontEnd = new FrontEnd(there)
  t.equal(await frontEnd.getQueueNum(), 2)
  frontEnd.close()
  t.equal((await session.closed).code, 'VUS_PEER_CLOSED')
})

t.test('a device that offers what no session can do is a fault of the program', async (t) => {
  const make = (change: Partial<RecordingDevice>) => () =>
    new BackendSession(-1, Object.assign(new RecordingDevice(), change))
  t.throws(make({ protocolFeatures: featureMask(VHOST_USER_PROTOCOL_F.PAGEFAULT) }), RangeError)
  const { protocolFeatures, dirtyLog, inflight } = new RecordingDevice().offerMigration()
  t.throws(make({ protocolFeatures, dirtyLog }), { name: 'RangeError', message: /^INFLIGHT_SHMFD is offered/ })
  t.throws(make({ protocolFeatures, inflight }), { name: 'RangeError', message: /^LOG_SHMFD is offered/ })
  t.throws(make({ dirtyLog }), RangeError)
  t.throws(make({ inflight }), RangeError)
  t.throws(make({ protocolFeatures, dirtyLog, inflight }), { code: 'EBADF' })
  t.throws(make({ ringCount: 2 }), RangeError)
  t.throws(make({ ringCount: 257 }), RangeError)
  t.throws(make({}), { code: 'EBADF' })
})

leakless(t, 'what a session shows', async (t) => {
  const files = new Files()
  const harness = await running(files, 2)
  const { session } = harness
  t.equal(session.features, harness.device.features)
  t.equal(session.protocolFeatures, harness.device.protocolFeatures)
  t.same(session.regions, [region()])
  t.match(session.rings, [{ active: false }, {}, { index: 2, active: true, size: 128 }, { started: false }])
  await harness.leave()
  files.close()
})

leakless(t, 'descriptors of a message that is refused are closed', async (t) => {
  const harness = new Harness()
  await harness.negotiate()
  const memory = createMemfd('guest', MEMORY_SIZE)
  const event = createEventfd()
  const { frontEnd } = harness
  await t.rejects(frontEnd.addMemReg({ ...region(), size: 0 }, memory), { code: 'VUS_NACK' })
  await t.rejects(frontEnd.setVringKick(9, event), { code: 'VUS_NACK' })
  await t.rejects(frontEnd.setVringCall(1, memory), { code: 'VUS_NACK' })
  await t.rejects(frontEnd.command(99, new Uint8Array(4), [event, memory]), { code: 'VUS_NACK' })
  close(memory)
  close(event)
  await harness.leave()
})
