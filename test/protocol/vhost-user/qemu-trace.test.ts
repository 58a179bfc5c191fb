import { drainEventfd } from 'memfd-mmap'
import t from 'tap'
import { maskPayload, FRONT_END_REQUEST as REQUEST, VHOST_USER_PROTOCOL_F } from 'vhost-user-protocol-ts'
import { leakless, region } from '../../support/vhost-user/harness.js'
import { each, LINUX, Qemu, RINGS, ringFd, SEABIOS, single, table, VERSIONS } from '../../support/vhost-user/qemu.js'
import { RecordingDevice } from '../../support/vhost-user/recording-device.js'

for (const version of Object.keys(VERSIONS))
  for (const drip of [false, true]) {
    const how = drip ? ', every byte alone' : ''
    leakless(t, `QEMU ${version}: SeaBIOS, Linux, stop and cont, reboot, hotplug${how}`, async (t) => {
      const qemu = new Qemu(version, new RecordingDevice(), drip)
      const { files, harness } = qemu
      const { device } = harness
      await qemu.connect()
      t.same(await qemu.told(), ['reset'], 'connect')

      // SeaBIOS knows the first request queue only.
      const boot = files.ring(2)
      const features = () => new Array<string>(qemu.twice ? 2 : 1).fill('setFeatures')
      await qemu.features(SEABIOS)
      await qemu.send(REQUEST.ADD_MEM_REG, single(0), files.memory())
      await qemu.startRings([boot])
      t.same(await qemu.told(), [...features(), 'addMemory', 'startRing 2', 'setCall 2'], 'SeaBIOS')
      t.equal(drainEventfd(boot.callFd), 1, 'what was completed before the true call descriptor came is made good')
      t.equal(drainEventfd(boot.kickFd), 1, 'the kick that QEMU raised before ENABLE waits for the device')
      t.match(device.running.get(2), { features: 0x100000000n, size: 128, base: 0 })

      // Guest reset: what SeaBIOS has started stops, then RESET_DEVICE, as often as the drivers see fit.
      device.bases.set(2, 41)
      t.same(await qemu.stop(2), [41])
      for (let i = 0; i < 4; i++) await qemu.send(REQUEST.RESET_DEVICE)
      t.same(await qemu.told(), ['stopRing 2', 'reset', 'reset', 'reset', 'reset'], 'reset')

      const rings = RINGS.map((index) => files.ring(index))
      device.bases.clear()
      await qemu.features(LINUX)
      await qemu.startRings(rings)
      t.same(await qemu.told(), [...features(), ...each('startRing'), ...each('setCall')], 'Linux')
      for (const { callFd } of rings) t.equal(drainEventfd(callFd), 1)
      t.equal(device.running.get(3)?.features, 0x130000006n)

      // A DIMM comes and goes.
      await qemu.send(REQUEST.ADD_MEM_REG, single(1), files.memory())
      t.same(harness.session.regions, [region(0), region(1)])
      await qemu.send(REQUEST.REM_MEM_REG, single(1))
      t.same(harness.session.regions, [region(0)])
      t.same(await qemu.told(), ['addMemory', 'removeMemory'], 'hotplug on running rings')

      // QMP stop and cont: the rings go on where they were; the memory table is not sent again.
      for (const index of RINGS) device.bases.set(index, 100 + index)
      const bases = await qemu.stop(...RINGS)
      t.same(bases, [100, 101, 102, 103])
      t.same(await qemu.told(), each('stopRing'), 'stop')
      await qemu.features(LINUX)
      await qemu.startRings(rings.map((ring, i) => ({ ...ring, base: bases[i]! })))
      t.same(await qemu.told(), [...features(), ...each('startRing'), ...each('setCall')], 'cont')
      t.equal(device.running.get(1)?.base, 101)

      // MSI-X masking replaces call while the ring runs.
      const other = files.event()
      await qemu.send(REQUEST.SET_VRING_CALL, ringFd(2, other), other)
      t.same(await qemu.told(), ['setCall 2'])
      t.equal(drainEventfd(other), 1)
      await qemu.quit(t)
      t.same(device.take(), [...each('stopRing'), 'disconnect'], 'quit without a stop')
    })
  }

for (const version of Object.keys(VERSIONS)) {
  leakless(t, `QEMU ${version} without memory slots: the whole table at each start and change`, async (t) => {
    const device = new RecordingDevice()
    device.protocolFeatures &= ~(1n << BigInt(VHOST_USER_PROTOCOL_F.CONFIGURE_MEM_SLOTS))
    const qemu = new Qemu(version, device)
    const { files, harness } = qemu
    const [memory, dimm] = [files.memory(), files.memory()]
    await qemu.connect()
    for (let start = 0; start < 2; start++) {
      await qemu.features(LINUX)
      await qemu.send(REQUEST.SET_MEM_TABLE, table(0), memory)
      await qemu.startRings([files.ring(2)])
      await qemu.told()
      await qemu.send(REQUEST.SET_MEM_TABLE, table(0, 1), memory, dimm)
      t.equal(harness.session.regions.length, 2)
      await qemu.send(REQUEST.SET_MEM_TABLE, table(0), memory)
      t.same(await qemu.told(), ['setMemory', 'setMemory'], 'on running rings')
      t.equal(harness.session.regions.length, 1)
      await qemu.stop(2)
    }
    await qemu.quit(t)
  })

  leakless(t, `QEMU ${version} with packed=on sends a feature that was not offered`, async (t) => {
    const qemu = new Qemu(version)
    await qemu.connect()
    await qemu.send(REQUEST.SET_FEATURES, maskPayload(0x550000006n))
    t.match(await qemu.harness.ended(), { code: 'VUS_FEATURES_NOT_OFFERED', message: /RING_PACKED/ })
    qemu.harness.frontEnd.close()
  })
}

leakless(t, 'a legacy guest: no VERSION_1', async (t) => {
  const qemu = new Qemu('10.2')
  await qemu.connect()
  await qemu.features(0x40000000n)
  t.same(await qemu.told(), ['reset', 'setFeatures', 'setFeatures'])
  await qemu.quit(t)
})

leakless(t, 'a table of eight regions', async (t) => {
  const qemu = new Qemu('10.2')
  await qemu.connect()
  const files = RINGS.concat(RINGS).map(() => qemu.files.memory())
  await qemu.send(REQUEST.SET_MEM_TABLE, table(0, 1, 2, 3, 4, 5, 6, 7), ...files)
  t.equal(qemu.harness.session.regions.length, 8)
  await qemu.quit(t)
})
