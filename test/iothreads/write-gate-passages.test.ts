import t from 'tap'
import { ALL_PASS, PASSAGE, WRITES_PASS } from '../../iothreads/write-gate-passages.js'
import { ACTION } from '../../scsi/index.js'

t.test('every action passes in some way; what changes the medium never freely', async (t) => {
  const changing = ['WRITE', 'DISCARD', 'WRITE_ZEROES', 'WRITE_PATTERN'] as const
  const alone = ['COMPARE_AND_WRITE', 'OR_WRITE', 'WRITE_ATOMIC'] as const
  const reading = ['READ', 'COMPARE', 'VERIFY'] as const
  const expected = (name: string, reads: boolean): number => {
    if (alone.some((each) => each === name)) return PASSAGE.ALONE
    const counted = changing.some((each) => each === name) || (reads && reading.some((each) => each === name))
    return counted ? PASSAGE.SHARED : PASSAGE.FREE
  }
  for (const [name, action] of Object.entries(ACTION)) {
    t.equal(WRITES_PASS[action], expected(name, false), name)
    t.equal(ALL_PASS[action], expected(name, true), name)
  }
})
