import t from 'tap'
import { ATTENTION, FLAG, MODE_FLAGS, SENSE, STATUS, Task, takeAttention } from '../../scsi/index.js'
import { fixture } from './support/fixture.js'
import { bytes } from './support/hex.js'

function task(cdb: string, parameters = ''): Task {
  const made = new Task()
  made.cdbBytes.set(bytes(cdb))
  made.parameters = bytes(parameters)
  made.parameterLength = made.dataOutLength = made.parameters.length
  return made
}

t.test('others are all nexuses but one, as they are now', async (t) => {
  const { server, unitNexus, join, leave } = fixture()
  t.same(server.others(unitNexus), [])
  const [one, two] = [join('one').unitNexus, join('two').unitNexus]
  t.strictSame(server.others(unitNexus), [one, two])
  leave(one)
  t.strictSame(server.others(unitNexus), [two])
  t.strictSame(server.others(one), [unitNexus, two], 'one that has gone is none of them')
})

t.test('a task begins anew, and moves its parameter list unless it fails', async (t) => {
  const { server, unitNexus, state } = fixture()
  const select = task('15 10 00 00 04 00', '00*4')
  select.fail(SENSE.INTERNAL_TARGET_FAILURE)
  t.equal(server.execute(select, unitNexus), null)
  t.match(select, { status: STATUS.GOOD, transferLength: 4, senseLength: 0, overrun: false })
  state.set(FLAG.DESCRIPTOR_SENSE)
  const wrong = task('15 10 00 00 04 00', '00 01 00 00')
  t.equal(server.execute(wrong, unitNexus), null)
  t.match(wrong, { status: STATUS.CHECK_CONDITION, transferLength: 0 })
  t.equal(wrong.sense[0], 0x72, 'sense data in the format that the unit has now')
})

t.test('a command that is none of the server’s', async (t) => {
  const { server, unitNexus } = fixture()
  const ready = task('00 00 00 00 00 00')
  t.equal(server.execute(ready, unitNexus), null)
  t.equal(ready.senseCode, SENSE.INTERNAL_TARGET_FAILURE)
})

t.test('a reset of the unit brings defaults back, and tells those it is said to tell', async (t) => {
  const { server, unitNexus, state, join } = fixture()
  const other = join('other').unitNexus
  state.change(MODE_FLAGS, FLAG.WRITE_CACHE | FLAG.SOFTWARE_WRITE_PROTECT)
  t.equal(server.reset([other]), false, 'there still is a write cache')
  t.equal(state.flags, state.defaults)
  t.equal(takeAttention(unitNexus.attention), 0)
  t.equal(takeAttention(other.attention), SENSE.BUS_DEVICE_RESET_FUNCTION_OCCURRED)
  state.change(MODE_FLAGS, 0)
  t.equal(server.reset([]), false, 'nothing is in a cache that was off')
  t.equal(state.flags & FLAG.WRITE_CACHE, FLAG.WRITE_CACHE)
})

t.test('a write cache that goes off with a reset has to be flushed', async (t) => {
  const { server, unitNexus, state } = fixture()
  state.words[4] = 0
  t.equal(state.defaults, 0)
  t.equal(server.reset([]), true)
  t.equal(server.reset([]), false)
  state.set(FLAG.WRITE_CACHE)
  t.equal(server.begin(unitNexus), true)
})

t.test('an initiator that begins anew', async (t) => {
  const { server, unitNexus, state, join, leave } = fixture()
  const other = join('other').unitNexus
  state.change(MODE_FLAGS, FLAG.WRITE_CACHE | FLAG.DESCRIPTOR_SENSE)
  t.equal(server.begin(unitNexus), false)
  t.equal(state.flags & FLAG.DESCRIPTOR_SENSE, FLAG.DESCRIPTOR_SENSE, 'others go on with what is set')
  t.equal(Atomics.load(unitNexus.attention, 0), ATTENTION.POWER_ON)
  t.equal(Atomics.load(other.attention, 0), 0)
  leave(other)
  t.equal(server.begin(unitNexus), false)
  t.equal(state.flags, state.defaults)
})
