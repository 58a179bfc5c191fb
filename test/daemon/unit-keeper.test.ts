import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { UnitKeeper } from '../../daemon/unit-keeper.js'
import { ATTENTION, FLAG, NO_RESERVATIONS, raiseAttention } from '../../scsi/index.js'
import { fixture } from '../scsi/support/fixture.js'
import { tempDir } from '../support/temp-dir.js'

const WWN = '3000000000000001'

/** A unit with one nexus, of controller "vm", that begins with a power on. */
function unit(t: Test, directory: string, bootId = 'one', volatile = false) {
  const { server, unitNexus, state, join: add } = fixture()
  raiseAttention(unitNexus.attention, ATTENTION.POWER_ON)
  const keeper = new UnitKeeper(directory, bootId, { id: 'disk', wwn: WWN, serial: 's', volatile, server })
  t.teardown(() => keeper.close())
  return { server, state, keeper, add, attention: unitNexus.attention, nexus: unitNexus }
}

const reservedBy = (initiator: string, port: number) => ({
  ...NO_RESERVATIONS,
  generation: 1,
  registrants: [{ initiator, port, key: '0000000000000001' }],
  persistent: { type: 1, holder: { initiator, port } },
})

t.test('the same boot: as it was', async (t) => {
  const directory = tempDir(t)
  const one = unit(t, directory)
  t.equal(one.server.reservations.persistent, true)
  await one.keeper.open()
  const reserved = reservedBy(one.nexus.initiator, one.nexus.port.relative)
  one.server.reservations.change(reserved)
  one.state.set(FLAG.DESCRIPTOR_SENSE | FLAG.WRITE_FAULT)
  one.attention[0] = ATTENTION.MODE_PARAMETERS_CHANGED
  t.equal(await one.keeper.keep(), 0)
  await one.keeper.close()
  const two = unit(t, directory)
  await two.keeper.open()
  t.same(two.server.reservations.state, reserved)
  t.equal(two.state.flags & (FLAG.DESCRIPTOR_SENSE | FLAG.WRITE_FAULT), FLAG.DESCRIPTOR_SENSE)
  t.equal(two.attention[0], ATTENTION.MODE_PARAMETERS_CHANGED, 'and no power on')
})

t.test('another boot, or a medium that is new: a power on', async (t) => {
  for (const [bootId, volatile] of [
    ['two', false],
    ['one', true],
  ] as const) {
    const directory = tempDir(t)
    const one = unit(t, directory)
    await one.keeper.open()
    const reserved = { ...reservedBy(one.nexus.initiator, one.nexus.port.relative), aptpl: true }
    one.server.reservations.change(reserved)
    one.state.set(FLAG.DESCRIPTOR_SENSE)
    one.attention[0] = 0
    await one.keeper.keep()
    await one.keeper.close()
    const two = unit(t, directory, bootId, volatile)
    await two.keeper.open()
    t.same(two.server.reservations.state, { ...reserved, generation: 0 })
    t.equal(two.state.flags & FLAG.DESCRIPTOR_SENSE, 0)
    t.equal(two.attention[0], ATTENTION.POWER_ON)
  }
})

t.test('a nexus that comes later has what it had', async (t) => {
  const directory = tempDir(t)
  const one = unit(t, directory)
  await one.keeper.open()
  one.add('late').nexus.attention[0] = ATTENTION.CAPACITY_CHANGED
  await one.keeper.keep()
  await one.keeper.close()
  const two = unit(t, directory)
  await two.keeper.open()
  const { unitNexus } = two.add('late')
  raiseAttention(unitNexus.attention, ATTENTION.POWER_ON)
  two.keeper.welcome(unitNexus)
  t.equal(unitNexus.attention[0], ATTENTION.CAPACITY_CHANGED)
  raiseAttention(unitNexus.attention, ATTENTION.POWER_ON)
  two.keeper.welcome(unitNexus)
  t.equal(unitNexus.attention[0], ATTENTION.POWER_ON, 'once')
  const { unitNexus: stranger } = two.add('new')
  raiseAttention(stranger.attention, ATTENTION.POWER_ON)
  two.keeper.welcome(stranger)
  t.equal(stranger.attention[0], ATTENTION.POWER_ON)
})

t.test('it is written when it has changed', async (t) => {
  const directory = tempDir(t)
  const path = join(directory, `lun-${WWN}.json`)
  const { keeper, server } = unit(t, directory)
  t.equal(await keeper.keep(), 0, 'nothing before it is open')
  await keeper.open()
  await keeper.keep()
  rmSync(path)
  t.equal(await keeper.keep(), 0)
  t.throws(() => readFileSync(path), { code: 'ENOENT' }, 'no change, no write')
  server.reservations.change({ ...NO_RESERVATIONS, generation: 1 })
  await Promise.all([keeper.keep(), keeper.keep()])
  t.match(readFileSync(path, 'utf8'), /"generation": 1/)
  await keeper.freeze()
  server.reservations.change({ ...NO_RESERVATIONS, generation: 2 })
  await keeper.keep()
  t.match(readFileSync(path, 'utf8'), /"generation": 1/, 'frozen')
})

t.test('a write that fails is told, and done again', async (t) => {
  const directory = tempDir(t)
  const { keeper, server } = unit(t, directory)
  await keeper.open()
  await keeper.keep()
  const gone = join(directory, `lun-${WWN}.json.new`)
  mkdirSync(gone)
  server.reservations.change({ ...NO_RESERVATIONS, generation: 1 })
  t.ok((await keeper.keep()) < 0)
  rmSync(gone, { recursive: true })
  t.equal(await keeper.keep(), 0)
  t.match(readFileSync(join(directory, `lun-${WWN}.json`), 'utf8'), /"generation": 1/)
})

t.test('what cannot be opened', async (t) => {
  const directory = tempDir(t)
  const path = join(directory, `lun-${WWN}.json`)
  writeFileSync(path, '{"version":1}')
  const { keeper } = unit(t, directory)
  await t.rejects(keeper.open(), { code: 'VUS_STATE', message: new RegExp(`lun "disk": ${path}: .*damaged`) })
  rmSync(path)
  await keeper.open()
  await keeper.open()
  const missing = unit(t, join(directory, 'none'))
  await t.rejects(missing.keeper.open(), { code: 'VUS_STATE', message: /no such file/i })
})
