import t from 'tap'
import { SENSE } from '../../../scsi/sense.js'
import { FLAG, MODE_FLAGS } from '../../../scsi/unit-state.js'
import { fixture } from '../support/fixture.js'
import { normal } from '../support/hex.js'

const PAGES = {
  '01': '01 0a c0 00*9',
  '04': '04 16 00 00 00 ff 00*18',
  '07': '07 0a 00*10',
  '08': '08 12 04 00*17',
  '0a': '0a 0a 02 10 00*8',
  '1c': '1c 0a 08 00*9',
}
const CONTROL_EXTENSION = '4a 01 00 1c 00*28'
const PROVISIONING = '5c 02 00 14 00*20'
/** All page_0 pages, and all pages. */
const ALL = Object.values(PAGES).join(' ')
const ALL_SUBPAGES = ALL.replace(PAGES['1c'], `${CONTROL_EXTENSION} ${PAGES['1c']} ${PROVISIONING}`)
const SHORT = '00 00 08 00 00 00 02 00'
const LONG = '00 00 00 00 00 00 08 00 00*4 00 00 02 00'

const { initiator } = fixture()

t.test('MODE SENSE(6), a page at a time', async (t) => {
  for (const [code, page] of Object.entries(PAGES)) {
    const size = normal(page).split(' ').length
    t.equal(
      initiator.send(`1a 00 ${code} 00 ff 00`).data,
      normal(`${(11 + size).toString(16)} 00 10 08 ${SHORT} ${page}`),
    )
    t.equal(initiator.send(`1a 08 ${code} 00 ff 00`).data, normal(`${(3 + size).toString(16)} 00 10 00 ${page}`))
    if (code === '0a' || code === '1c') continue
    t.equal(initiator.send(`1a 08 ${code} ff ff 00`).data, normal(`${(3 + size).toString(16)} 00 10 00 ${page}`))
  }
})

t.test('a subpage, and a page with its subpages', async (t) => {
  t.equal(initiator.send('1a 08 0a 01 ff 00').data, normal(`23 00 10 00 ${CONTROL_EXTENSION}`))
  t.equal(initiator.send('1a 08 1c ff ff 00').data, normal(`27 00 10 00 ${PAGES['1c']} ${PROVISIONING}`))
  t.equal(initiator.send('1a 08 0a ff ff 00').data, normal(`2f 00 10 00 ${PAGES['0a']} ${CONTROL_EXTENSION}`))
  t.equal(initiator.send('1a 08 4a 01 ff 00').data, normal('23 00 10 00 4a 01 00 1c 00*28'))
})

t.test('all pages', async (t) => {
  t.equal(initiator.send('1a 00 3f 00 ff 00').data, normal(`67 00 10 08 ${SHORT} ${ALL}`))
  t.equal(initiator.send('1a 08 3f ff ff 00').data, normal(`97 00 10 00 ${ALL_SUBPAGES}`))
  t.equal(initiator.send('5a 00 3f 00 00 00 00 00 ff 00').data, normal(`00 6a 00 10 00 00 00 08 ${SHORT} ${ALL}`))
})

t.test('MODE SENSE(10) has a longer header and block descriptor', async (t) => {
  t.equal(initiator.send('5a 08 08 00 00 00 00 00 ff 00').data, normal(`00 1a 00 10 00 00 00 00 ${PAGES['08']}`))
  t.equal(
    initiator.send('5a 10 08 00 00 00 00 01 00 00').data,
    normal(`00 2a 00 10 01 00 00 10 ${LONG} ${PAGES['08']}`),
  )
  t.equal(initiator.send('5a 18 08 00 00 00 00 00 ff 00').data, normal(`00 1a 00 10 00 00 00 00 ${PAGES['08']}`))
})

t.test('block descriptors of a large medium', async (t) => {
  const { initiator } = fixture({ blockSize: 4096 }, { capacity: 2 ** 40 })
  t.match(initiator.send('1a 00 08 00 ff 00').data, normal('1f 00 10 08 ff ff ff ff 00 00 10 00 08 12'))
  t.match(
    initiator.send('5a 10 08 00 00 00 00 00 ff 00').data,
    normal('00 2a 00 10 01 00 00 10 00 00 01 00*5 00*4 00 00 10 00 08 12'),
  )
})

t.test('page control: what can be changed, what was at first; nothing is saved', async (t) => {
  t.equal(initiator.send('1a 08 48 00 ff 00').data, normal('17 00 10 00 08 12 04 00*17'))
  t.equal(initiator.send('1a 08 88 00 ff 00').data, normal(`17 00 10 00 ${PAGES['08']}`))
  const changed = fixture()
  changed.state.change(MODE_FLAGS, FLAG.DESCRIPTOR_SENSE | FLAG.SOFTWARE_WRITE_PROTECT)
  t.equal(changed.initiator.send('1a 08 08 00 ff 00').data, normal('17 00 90 00 08 12 00*18'))
  t.equal(changed.initiator.send('1a 08 88 00 ff 00').data, normal(`17 00 90 00 ${PAGES['08']}`))
  t.equal(changed.initiator.send('1a 08 0a 00 ff 00').data, normal('0f 00 90 00 0a 0a 06 10 08 00*7'))
  t.equal(changed.initiator.send('1a 08 8a 00 ff 00').data, normal(`0f 00 90 00 ${PAGES['0a']}`))
  t.equal(initiator.send('1a 08 c8 00 ff 00').senseCode, SENSE.SAVING_PARAMETERS_NOT_SUPPORTED)
  t.equal(initiator.send('5a 08 ff 00 00 00 00 00 ff 00').senseCode, SENSE.SAVING_PARAMETERS_NOT_SUPPORTED)
  t.equal(
    initiator.send('1a 08 7f 00 ff 00').data,
    normal('5f 00 10 00 01 0a 00*10 04 16 00*22 07 0a 00*10 08 12 04 00*17 0a 0a 04 00 08 00*7 1c 0a 00*10'),
  )
})

t.test('pages and subpages that are not there', async (t) => {
  for (const cdb of ['1a 00 00 00 ff 00', '1a 00 03 00 ff 00', '1a 00 02 ff ff 00', '5a 00 05 00 00 00 00 00 ff 00']) {
    t.equal(initiator.send(cdb).sense, normal('70 00 05 00*4 0a 00*4 24 00 00 cd 00 02'))
  }
  for (const cdb of ['1a 00 0a 02 ff 00', '1a 00 3f 01 ff 00', '5a 00 08 fe 00 00 00 00 ff 00']) {
    t.equal(initiator.send(cdb).sense, normal('70 00 05 00*4 0a 00*4 24 00 00 cf 00 03'))
  }
})

t.test('ALLOCATION LENGTH cuts, and the length told is the whole', async (t) => {
  t.equal(initiator.send('1a 00 3f 00 04 00').data, normal('67 00 10 08'))
  t.equal(initiator.send('5a 00 3f 00 00 00 00 00 02 00').data, normal('00 6a'))
  t.equal(initiator.send('1a 00 3f 00 00 00').data, '')
})

t.test('write protection and the write cache', async (t) => {
  const { initiator, state } = fixture()
  state.clear(FLAG.WRITE_CACHE)
  t.equal(initiator.send('1a 08 08 00 ff 00').data, normal('17 00 10 00 08 12 00*18'))
  state.set(FLAG.READ_ONLY)
  t.match(initiator.send('1a 08 08 00 ff 00').data, /^17 00 90 00/)
  t.match(fixture({ readOnly: true }).initiator.send('5a 08 08 00 00 00 00 00 ff 00').data, /^00 1a 00 90/)
  t.match(fixture({}, { readOnly: true }).initiator.send('1a 08 08 00 ff 00').data, /^17 00 90 00/)
})
