import t from 'tap'
import { PERIPHERAL, standardInquiry } from '../../../scsi/inquiry/standard.js'
import { CONFIG } from '../support/fixture.js'
import { ascii, hex, normal } from '../support/hex.js'

t.test('standard INQUIRY data of a disk', async (t) => {
  t.equal(
    hex(standardInquiry(PERIPHERAL.DISK, CONFIG)),
    normal(
      `00 00 06 12 5b 18 00 02 ${ascii('VENDOR', 8)} ${ascii('A PRODUCT', 16)} ${ascii('1.0', 4)}` +
        ' 00*22 00 a0 04 60 04 c0 00*32',
    ),
  )
})

t.test('a removable medium, and other kinds of unit', async (t) => {
  t.match(hex(standardInquiry(PERIPHERAL.DISK, { ...CONFIG, removable: true })), /^00 80 06 12 5b/)
  t.match(hex(standardInquiry(PERIPHERAL.NOT_SUPPORTED, CONFIG)), /^7f 00 06 12 5b 00 /)
})
