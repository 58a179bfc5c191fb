import t from 'tap'
import { SENSE } from '../../../scsi/sense.js'
import { ACTION } from '../../../scsi/task.js'
import { BLOCKS, fixture } from '../support/fixture.js'

t.test('PRE-FETCH asks the medium to read ahead', async (t) => {
  for (const [ten, sixteen, range] of [
    ['34 00 00 00 00 05 00 00 03 00', '90 00 00*7 05 00 00 00 03 00 00', [2560, 1536]],
    ['34 02 00 00 07 fe 00 00 02 00', '90 02 00*6 07 fe 00 00 00 02 00 00', [2046 * 512, 1024]],
    // There are no groups, and there is nothing that a GROUP NUMBER changes.
    ['34 02 00 00 00 05 03 00 03 00', '90 02 00*7 05 00 00 00 03 1f 00', [2560, 1536]],
    // No number of blocks: all to the end.
    ['34 00 00 00 00 01 00 00 00 00', '90 00 00*7 01 00 00 00 00 00 00', [512, (BLOCKS - 1) * 512]],
  ] as const) {
    for (const cdb of [ten, sixteen]) {
      const { initiator, medium } = fixture()
      t.match(initiator.send(cdb), { status: 0, data: '' })
      t.same(medium.log, [[ACTION.PREFETCH, ...range, false]])
    }
  }
})

t.test('PRE-FETCH of nothing, and of what is not on the medium', async (t) => {
  const { initiator, medium } = fixture()
  t.equal(initiator.send('34 00 00 00 08 00 00 00 00 00').status, 0, 'no blocks are left')
  for (const cdb of [
    '34 00 00 00 08 01 00 00 00 00',
    '34 00 00 00 07 ff 00 00 02 00',
    '34 02 00 00 07 ff 00 00 02 00',
    '90 00 ff*8 00 00 00 00 00 00',
    '90 00 00*6 07 ff 00 00 00 02 00 00',
  ]) {
    t.equal(initiator.send(cdb).senseCode, SENSE.LOGICAL_BLOCK_ADDRESS_OUT_OF_RANGE)
  }
  t.same(medium.log, [])
})
