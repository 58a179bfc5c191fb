import t from 'tap'
import { NEXUS_WORD } from '../../scsi/access.js'
import { SENSE } from '../../scsi/sense.js'
import * as management from '../../scsi/task-management.js'
import { ATTENTION, raise, take } from '../../scsi/unit-attention.js'
import { FLAG, UnitState } from '../../scsi/unit-state.js'
import { attentionWord } from './support/fixture.js'

function nexuses(): { attention: Int32Array }[] {
  return [{ attention: attentionWord() }, { attention: attentionWord() }]
}

t.test('each event is a unit attention for every nexus given', async (t) => {
  const state = UnitState.create(1)
  const events: [(all: { attention: Int32Array }[]) => void, number][] = [
    [management.powerOn, SENSE.POWER_ON_RESET_OR_BUS_DEVICE_RESET_OCCURRED],
    [(all) => management.logicalUnitReset(state, all), SENSE.BUS_DEVICE_RESET_FUNCTION_OCCURRED],
    [management.nexusReset, SENSE.I_T_NEXUS_LOSS_OCCURRED],
    [management.commandsCleared, SENSE.COMMANDS_CLEARED_BY_ANOTHER_INITIATOR],
    [(all) => management.changeCapacity(state, 2, all), SENSE.CAPACITY_DATA_HAS_CHANGED],
    [management.inventoryChanged, SENSE.REPORTED_LUNS_DATA_HAS_CHANGED],
  ]
  for (const [event, sense] of events) {
    const all = nexuses()
    event(all)
    t.same(
      all.map((nexus) => take(nexus.attention)),
      [sense, sense],
    )
  }
})

t.test('a power on leaves nothing of before', async (t) => {
  const all = nexuses()
  raise(all[0]!.attention, ATTENTION.CAPACITY_CHANGED)
  management.powerOn(all)
  t.equal(all[0]!.attention[0], ATTENTION.POWER_ON)
})

t.test('whoever begins anew prevents nothing', async (t) => {
  const state = UnitState.create(1)
  const events: ((all: { attention: Int32Array }[]) => void)[] = [
    management.powerOn,
    (all) => management.logicalUnitReset(state, all),
    management.nexusReset,
    management.allowRemoval,
  ]
  for (const event of events) {
    const all = nexuses()
    for (const { attention } of all) attention[NEXUS_WORD.PREVENTS] = 1
    event(all.slice(0, 1))
    t.same(
      all.map(({ attention }) => attention[NEXUS_WORD.PREVENTS]),
      [0, 1],
    )
  }
})

t.test('a logical unit reset leaves what is no mode parameter', async (t) => {
  const state = UnitState.create(1)
  state.set(FLAG.READ_ONLY)
  management.logicalUnitReset(state, [])
  t.equal(state.flags, FLAG.READ_ONLY | FLAG.WRITE_CACHE)
})

t.test('a capacity that stays tells nobody', async (t) => {
  const state = UnitState.create(5)
  const all = nexuses()
  management.changeCapacity(state, 5, all)
  t.equal(take(all[0]!.attention), 0)
  management.changeCapacity(state, 6, all)
  t.equal(state.capacity, 6)
  t.equal(take(all[0]!.attention), SENSE.CAPACITY_DATA_HAS_CHANGED)
})
