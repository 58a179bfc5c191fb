import t from 'tap'
import { MODE_PAGE, MODE_PAGES } from '../../../scsi/mode-pages/pages.js'
import { FLAG } from '../../../scsi/unit-state.js'
import { fixture } from '../support/fixture.js'
import { hex, normal } from '../support/hex.js'

function parameters(code: number, flags: number, changes = {}, capacity = 2048): string {
  const page = MODE_PAGES.find((each) => each.code === code)!
  const bytes = new Uint8Array(page.length)
  page.fill(new DataView(bytes.buffer), fixture(changes, { capacity }).nexus, flags)
  return hex(bytes)
}

t.test('pages ascend and have the lengths of the standards', async (t) => {
  t.same(
    MODE_PAGES.map((page) => [page.code, page.length]),
    [
      [0x01, 0x0a],
      [0x04, 0x16],
      [0x08, 0x12],
      [0x0a, 0x0a],
      [0x1c, 0x0a],
    ],
  )
})

t.test('Read-Write Error Recovery', async (t) => {
  t.equal(parameters(MODE_PAGE.READ_WRITE_ERROR_RECOVERY, 0), normal('c0 00*9'))
})

t.test('Rigid Disk Geometry', async (t) => {
  t.equal(parameters(MODE_PAGE.RIGID_DISK_GEOMETRY, 0), normal('00 00 00 ff 00*18'))
  t.equal(
    parameters(MODE_PAGE.RIGID_DISK_GEOMETRY, 0, { rotationRate: 7200 }, 255 * 63 * 0x10203 + 5),
    normal('01 02 03 ff 00*14 1c 20 00 00'),
  )
  t.equal(parameters(MODE_PAGE.RIGID_DISK_GEOMETRY, 0, {}, 2 ** 44), normal('ff ff ff ff 00*18'))
})

t.test('Caching tells whether there is a write cache', async (t) => {
  t.equal(parameters(MODE_PAGE.CACHING, FLAG.WRITE_CACHE), normal('04 00*17'))
  t.equal(parameters(MODE_PAGE.CACHING, 0), normal('00*18'))
})

t.test('Control tells the format of sense data', async (t) => {
  t.equal(parameters(MODE_PAGE.CONTROL, 0), normal('02 10 00*8'))
  t.equal(parameters(MODE_PAGE.CONTROL, FLAG.DESCRIPTOR_SENSE), normal('06 10 00*8'))
})

t.test('Informational Exceptions Control: none', async (t) => {
  t.equal(parameters(MODE_PAGE.INFORMATIONAL_EXCEPTIONS, 0), normal('08 00*9'))
})
