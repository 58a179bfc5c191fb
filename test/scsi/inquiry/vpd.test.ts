import t from 'tap'
import { diskVpdPages, VPD, vpdPage, vpdPages } from '../../../scsi/inquiry/vpd.js'
import { CONFIG } from '../support/fixture.js'
import { ascii, hex, normal } from '../support/hex.js'

const pages = diskVpdPages(CONFIG)
const page = (code: number): string => hex(pages.get(code)!)

t.test('the list of pages lists them all, ascending', async (t) => {
  t.equal(page(VPD.SUPPORTED_PAGES), normal('00 00 00 09 00 80 83 86 87 8f b0 b1 b2'))
  t.equal(
    hex(diskVpdPages({ ...CONFIG, serial: '', discard: false }).get(0)!),
    normal('00 00 00 07 00 83 86 87 8f b0 b1'),
  )
})

t.test('every page has its code and its length', async (t) => {
  for (const [code, bytes] of pages) {
    t.equal(bytes[0], 0)
    t.equal(bytes[1], code)
    t.equal(new DataView(bytes.buffer, bytes.byteOffset).getUint16(2), bytes.length - 4)
  }
})

t.test('unit serial number and extended INQUIRY data', async (t) => {
  t.equal(page(VPD.UNIT_SERIAL_NUMBER), normal(`00 80 00 08 ${ascii('SERIAL-1')}`))
  t.equal(page(VPD.EXTENDED_INQUIRY), normal('00 86 00 3c 00 01 01 01 00*56'))
  t.equal(page(VPD.MODE_PAGE_POLICY), normal('00 87 00 04 3f ff 00 00'))
})

t.test('pages of another kind of unit', async (t) => {
  t.equal(hex(vpdPage(0x1e, 0x99, Uint8Array.of(1, 2))), normal('1e 99 00 02 01 02'))
  t.same([...vpdPages(0x1e, []).keys()], [0])
})
