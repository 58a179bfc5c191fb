import t from 'tap'
import { DISK_COMMANDS, FULL_DISK_COMMANDS } from '../../scsi/cdb-table.js'
import { LogicalUnit } from '../../scsi/logical-unit.js'
import { UnitState } from '../../scsi/unit-state.js'
import { CONFIG } from './support/fixture.js'

t.test('a unit has its commands and identity by its configuration', async (t) => {
  const state = UnitState.create(1)
  const thin = new LogicalUnit(CONFIG, state)
  t.equal(thin.commands, DISK_COMMANDS)
  t.equal(thin.blockSize, 512)
  t.equal(thin.standardInquiry.length, 96)
  t.same([...thin.vpdPages.keys()].sort(), [0x00, 0x80, 0x83, 0x86, 0x87, 0x8f, 0xb0, 0xb1, 0xb2].sort())
  const full = new LogicalUnit({ ...CONFIG, discard: false, serial: '' }, state)
  t.equal(full.commands, FULL_DISK_COMMANDS)
  t.same([...full.vpdPages.keys()].sort(), [0x00, 0x83, 0x86, 0x87, 0x8f, 0xb0, 0xb1].sort())
})

t.test('a configuration survives being sent to a thread', async (t) => {
  t.same(structuredClone(CONFIG), CONFIG)
})

t.test('a unit that cannot be is refused', async (t) => {
  t.throws(() => new LogicalUnit({ ...CONFIG, blockSize: 1000 }, UnitState.create(1)), { code: 'VUS_UNIT_CONFIG' })
})
