import t from 'tap'
import { SENSE } from '../../scsi/sense.js'
import { changeSpace, SPACE_THRESHOLD_SENSE, thresholdExponent, thresholdSets } from '../../scsi/space-threshold.js'
import { take } from '../../scsi/unit-attention.js'
import { UnitState } from '../../scsi/unit-state.js'
import { attentionWord } from './support/fixture.js'

const GIB = 2 ** 30

t.test('sets of a MiB, whatever the blocks are', async (t) => {
  t.equal(512 * 2 ** thresholdExponent(512), 2 ** 20)
  t.equal(4096 * 2 ** thresholdExponent(4096), 2 ** 20)
  t.equal(thresholdSets(0), 0)
  t.equal(thresholdSets(1), 1)
  t.equal(thresholdSets(GIB), 1024)
  t.equal(thresholdSets(GIB - 1, Math.floor), 1023)
  t.equal(thresholdSets(2 ** 60), 0xffffffff)
})

t.test('every nexus is told once, when space gets short, and again after there was more', async (t) => {
  const state = UnitState.create(1)
  const nexuses = [{ attention: attentionWord() }, { attention: attentionWord() }]
  let was = false
  const left = (available: number): (number | boolean)[] => {
    const { reached, told } = changeSpace(state, { available, used: 7, threshold: GIB }, was, nexuses)
    was = reached
    return [told, ...nexuses.map(({ attention }) => take(attention))]
  }
  const now = [true, SPACE_THRESHOLD_SENSE, SPACE_THRESHOLD_SENSE]
  const not = [false, 0, 0]
  t.same(left(GIB + 1), not)
  t.same(left(GIB), now)
  t.same(left(5), not)
  t.same(left(2 * GIB), not)
  t.same(left(0), now)
  t.same(state.space, { available: 0, used: 7 })
  t.equal(SPACE_THRESHOLD_SENSE, SENSE.THIN_PROVISIONING_SOFT_THRESHOLD_REACHED)
})
