import t from 'tap'
import { fillChangeable, fillPage, MODE_PAGE, MODE_PAGES, type ModePage } from '../../../scsi/mode-pages/pages.js'
import { FLAG, MODE_FLAGS } from '../../../scsi/unit-state.js'
import { fixture } from '../support/fixture.js'
import { hex, normal } from '../support/hex.js'

function parameters(code: number, flags: number, changes = {}, capacity = 2048): string {
  const page = MODE_PAGES.find((each) => each.code === code && each.subpage === 0)!
  return filled(page, (into) => fillPage(page, into, fixture(changes, { capacity }).unit, flags))
}

function filled(page: ModePage, fill: (into: DataView) => void): string {
  const bytes = new Uint8Array(page.length)
  fill(new DataView(bytes.buffer))
  return hex(bytes)
}

t.test('pages ascend and have the lengths of the standards', async (t) => {
  t.same(
    MODE_PAGES.map((page) => [page.code, page.subpage, page.length]),
    [
      [0x01, 0x00, 0x0a],
      [0x04, 0x00, 0x16],
      [0x07, 0x00, 0x0a],
      [0x08, 0x00, 0x12],
      [0x0a, 0x00, 0x0a],
      [0x0a, 0x01, 0x1c],
      [0x1c, 0x00, 0x0a],
      [0x1c, 0x02, 0x14],
    ],
  )
})

t.test('what can be changed: WCE, D_SENSE, SWP', async (t) => {
  const changeable = MODE_PAGES.map((page) => filled(page, (into) => fillChangeable(page, into)))
  t.same(
    changeable,
    ['00*10', '00*22', '00*10', '04 00*17', '04 00 08 00*7', '00*28', '00*10', '00*20'].map((page) => normal(page)),
  )
  const bits = MODE_PAGES.flatMap((page) => page.changeable.map(({ flag }) => flag))
  t.equal(
    bits.reduce((sum, flag) => sum | flag, 0),
    MODE_FLAGS,
    'each is a flag that a reset brings back',
  )
})

t.test('Read-Write Error Recovery', async (t) => {
  t.equal(parameters(MODE_PAGE.READ_WRITE_ERROR_RECOVERY, 0), normal('c0 00*9'))
  const told = { spaceThreshold: 2 ** 30 }
  t.equal(parameters(MODE_PAGE.READ_WRITE_ERROR_RECOVERY, 0, told), normal('c0 00*4 80 00*4'), 'LBPERE')
})

t.test('Logical Block Provisioning: a threshold, or none', async (t) => {
  const page = MODE_PAGES.find(({ code, subpage }) => code === 0x1c && subpage === 2)!
  const of = (changes = {}) => filled(page, (into) => fillPage(page, into, fixture(changes).unit, 0))
  t.equal(of(), normal('00*20'))
  t.equal(of({ spaceThreshold: 3 * 2 ** 30 }), normal('00*12 80 01 00 00 00 00 0c 00'))
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

t.test('Verify Error Recovery', async (t) => {
  t.equal(parameters(MODE_PAGE.VERIFY_ERROR_RECOVERY, -1), normal('00*10'))
})

t.test('Control tells the format of sense data, and the software write protection', async (t) => {
  t.equal(parameters(MODE_PAGE.CONTROL, FLAG.SOFTWARE_WRITE_PROTECT), normal('02 10 08 00*7'))
  t.equal(parameters(MODE_PAGE.CONTROL, 0), normal('02 10 00*8'))
  t.equal(parameters(MODE_PAGE.CONTROL, FLAG.DESCRIPTOR_SENSE), normal('06 10 00*8'))
})

t.test('Informational Exceptions Control: none', async (t) => {
  t.equal(parameters(MODE_PAGE.INFORMATIONAL_EXCEPTIONS, 0), normal('08 00*9'))
})
