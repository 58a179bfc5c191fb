import { close, createMemfd } from 'memfd-mmap'
import t from 'tap'
import { DeviceError, encodeSingleRegion, FRONT_END_REQUEST } from 'vhost-user-protocol-ts'
import { Files, Harness, leakless, MEMORY_SIZE, region } from '../../../support/vhost-user/harness.js'
import { RecordingDevice } from '../../../support/vhost-user/recording-device.js'

leakless(t, 'the table goes to the device with its descriptors in order', async (t) => {
  const files = new Files()
  const harness = new Harness()
  const { frontEnd, device } = harness
  await harness.negotiate()
  await frontEnd.setMemTable([region(0), region(1)], [files.memory(), files.memory()])
  t.same(device.calls[0]!.args[0], [region(0), region(1)])
  t.equal((device.calls[0]!.args[1] as number[]).length, 2)
  t.same(harness.session.regions, [region(0), region(1)])
  await frontEnd.setMemTable([region(3)], [files.memory()])
  t.same(harness.session.regions, [region(3)])
  await harness.leave()
  files.close()
})

leakless(t, 'a table with room for eight regions, as other front ends send it', async (t) => {
  const files = new Files()
  const harness = new Harness()
  await harness.negotiate()
  const payload = new Uint8Array(264)
  payload[0] = 1
  encodeSingleRegion(new DataView(payload.buffer), 0, region())
  payload[0] = 1
  await harness.frontEnd.command(FRONT_END_REQUEST.SET_MEM_TABLE, payload, [files.memory()])
  t.same(harness.session.regions, [region()])
  await harness.leave()
  files.close()
})

leakless(t, 'slots are counted', async (t) => {
  const files = new Files()
  const device = new RecordingDevice()
  device.maxMemorySlots = 3
  const harness = new Harness(device)
  const { frontEnd } = harness
  await harness.negotiate()
  t.equal(await frontEnd.getMaxMemSlots(), 3)
  for (const number of [0, 1, 2]) await frontEnd.addMemReg(region(number), files.memory())
  await t.rejects(frontEnd.addMemReg(region(3), files.memory()), { code: 'VUS_NACK' })
  await frontEnd.remMemReg(region(1))
  await frontEnd.addMemReg(region(3), files.memory())
  t.same(harness.session.regions, [region(0), region(2), region(3)])
  await harness.leave()
  files.close()
})

leakless(t, 'a removal may bring a descriptor by mistake, and need not know the offset', async (t) => {
  const files = new Files()
  const harness = new Harness()
  const { frontEnd, device } = harness
  await harness.negotiate()
  const added = { ...region(), mmapOffset: 0x2000 }
  await frontEnd.addMemReg(added, files.memory())
  device.calls.length = 0
  const payload = new Uint8Array(40)
  encodeSingleRegion(new DataView(payload.buffer), 0, { ...added, mmapOffset: 0 })
  const fd = createMemfd('guest', MEMORY_SIZE)
  await frontEnd.command(FRONT_END_REQUEST.REM_MEM_REG, payload, [fd])
  close(fd)
  t.same(device.calls, [{ method: 'removeMemory', args: [added] }], 'as it was added')
  t.same(harness.session.regions, [])
  await harness.leave()
  files.close()
})

leakless(t, 'what the device refuses does not change the table', async (t) => {
  const files = new Files()
  const harness = new Harness()
  const { frontEnd, device, session } = harness
  await harness.negotiate()
  await frontEnd.addMemReg(region(), files.memory())
  for (const method of ['setMemory', 'addMemory', 'removeMemory']) device.fail(method, new DeviceError('NO', 'no'))
  await t.rejects(frontEnd.setMemTable([region(5)], [files.memory()]), { code: 'VUS_NACK' })
  await t.rejects(frontEnd.addMemReg(region(1), files.memory()), { code: 'VUS_NACK' })
  await t.rejects(frontEnd.remMemReg(region()), { code: 'VUS_NACK' })
  t.same(session.regions, [region()])
  await harness.leave()
  files.close()
})
