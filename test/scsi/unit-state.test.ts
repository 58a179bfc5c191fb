import t from 'tap'
import { FLAG, UNUSUAL, UnitState } from '../../scsi/unit-state.js'

t.test('two views of one memory see the same', async (t) => {
  const owner = UnitState.create(1000)
  const worker = new UnitState(owner.memory)
  t.equal(owner.memory.byteLength, UnitState.BYTES)
  t.equal(worker.capacity, 1000)
  t.equal(worker.flags, FLAG.WRITE_CACHE)
  const generation = worker.generation
  owner.set(FLAG.READ_ONLY | FLAG.NOT_READY)
  t.equal(worker.flags, FLAG.WRITE_CACHE | FLAG.READ_ONLY | FLAG.NOT_READY)
  worker.clear(FLAG.READ_ONLY)
  t.equal(owner.flags, FLAG.WRITE_CACHE | FLAG.NOT_READY)
  owner.capacity = 2 ** 44
  t.equal(worker.capacity, 2 ** 44)
  t.equal(worker.generation, generation + 3)
  t.equal(worker.words[0], worker.flags)
})

t.test('a capacity is a number of blocks', async (t) => {
  const state = UnitState.create(0, 0)
  t.equal(state.capacity, 0)
  t.equal(state.flags, 0)
  for (const blocks of [-1, 0.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53]) {
    t.throws(() => {
      state.capacity = blocks
    }, RangeError)
  }
  t.equal(state.capacity, 0)
})

t.test('space', async (t) => {
  const state = UnitState.create(5)
  t.same(state.space, { available: 0, used: 0 })
  state.setSpace(2 ** 50, 7)
  t.same(new UnitState(state.memory).space, { available: 2 ** 50, used: 7 })
  t.equal(state.capacity, 5)
  t.equal(state.progress, 0)
})

t.test('the flags are distinct bits, and a usual unit has none of the unusual ones', async (t) => {
  const flags = Object.values(FLAG)
  t.equal(
    flags.reduce((sum, flag) => sum | flag, 0),
    flags.reduce((sum, flag) => sum + flag, 0),
  )
  t.equal(UNUSUAL & (FLAG.WRITE_CACHE | FLAG.DESCRIPTOR_SENSE), 0)
})
