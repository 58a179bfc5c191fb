import t from 'tap'
import { ACCESS, CONFLICTS, createNexusWords, NEXUS_WORD } from '../../scsi/access.js'

t.test('the words of a new nexus', async (t) => {
  const words = createNexusWords()
  t.equal(words.length, NEXUS_WORD.COUNT)
  t.ok(words.buffer instanceof SharedArrayBuffer)
  t.ok(words.every((word) => word === 0))
})

t.test('what conflicts with a reservation that lets others read, does with one that does not', async (t) => {
  for (const conflicts of Object.values(CONFLICTS)) {
    const isWrite = (conflicts & ACCESS.WRITE_EXCLUSIVE) !== 0
    t.ok(!isWrite || (conflicts & ACCESS.EXCLUSIVE_ACCESS) !== 0)
    t.ok(conflicts === 0 || (conflicts & ACCESS.RESERVED) !== 0)
  }
})
