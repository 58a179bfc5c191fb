import t from 'tap'
import { thirdPartyCopy } from '../../../scsi/inquiry/vpd-third-party-copy.js'
import { fixture } from '../support/fixture.js'
import { hex, normal } from '../support/hex.js'

const PAGE = normal(`
  00 01 00 0c 08 83 01 00 84 03 00 03 04 00 00 00
  00 04 00 1c 00*4 00 10 00 10 00 00 03 c0 00*4 00*12
  00 08 00 04 02 02 e4 00
  80 01 00 20 00 00 00 ff 00 00 00 ff 10 00 00 00 09 00 00*18`)

t.test('what can be copied how', async (t) => {
  t.equal(hex(thirdPartyCopy()), PAGE)
  const { initiator } = fixture()
  const length = PAGE.split(' ').length
  t.equal(initiator.send('12 01 8f 10 00 00').data, `00 8f 00 ${length.toString(16)} ${PAGE}`)
})
