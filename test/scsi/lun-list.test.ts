import t from 'tap'
import { encodeLunList, SELECT_REPORT } from '../../scsi/lun-list.js'
import { hex, normal } from './support/hex.js'

t.test('LUNs in peripheral device and flat space addressing', async (t) => {
  const luns = [0, 1, 255, 256, 16383]
  t.equal(
    hex(encodeLunList(luns, SELECT_REPORT.UNITS)),
    normal('00 00 00 28 00*4 00*8 00 01 00*6 00 ff 00*6 41 00 00*6 7f ff 00*6'),
  )
})

t.test('the well known logical unit', async (t) => {
  t.equal(hex(encodeLunList([0], SELECT_REPORT.WELL_KNOWN)), normal('00 00 00 08 00*4 c1 01 00*6'))
  t.equal(hex(encodeLunList([3], SELECT_REPORT.ALL)), normal('00 00 00 10 00*4 00 03 00*6 c1 01 00*6'))
  t.equal(hex(encodeLunList([], SELECT_REPORT.UNITS)), normal('00*8'))
})

t.test('no unit is administrative or subsidiary', async (t) => {
  t.equal(hex(encodeLunList([3], SELECT_REPORT.TOP_LEVEL)), hex(encodeLunList([3], SELECT_REPORT.UNITS)))
  for (const select of [SELECT_REPORT.ADMINISTRATIVE, SELECT_REPORT.SUBSIDIARY]) {
    t.equal(hex(encodeLunList([3], select)), normal('00*8'))
  }
})
