import t from 'tap'
import { SENSE } from '../../../scsi/sense.js'
import { fixture } from '../support/fixture.js'
import { hex, normal } from '../support/hex.js'

const logSense = (page: number, subpage = 0, pointer = 0, length = 0xff): Uint8Array =>
  Uint8Array.of(0x4d, 0, page, subpage, 0, pointer >>> 8, pointer, length >>> 8, length, 0)

t.test('the pages there are', async (t) => {
  const { initiator } = fixture()
  t.equal(initiator.send(logSense(0)).data, normal('00 00 00 03 00 0d 2f'))
  t.equal(initiator.send(logSense(0, 0xff)).data, normal('40 ff 00 08 00 00 00 ff 0d 00 2f 00'))
})

t.test('temperature: nobody knows', async (t) => {
  const { initiator } = fixture()
  const [present, reference] = ['00 00 03 02 00 ff', '00 01 03 02 00 ff']
  t.equal(initiator.send(logSense(0x0d)).data, normal(`0d 00 00 0c ${present} ${reference}`))
  t.equal(initiator.send(logSense(0x0d, 0, 1)).data, normal(`0d 00 00 06 ${reference}`))
  t.equal(initiator.send(logSense(0x0d, 0, 0, 7)).data, normal('0d 00 00 0c 00 00 03'))
})

t.test('informational exceptions: none', async (t) => {
  const { initiator } = fixture()
  // Whatever page control asks for.
  for (const control of [0x00, 0x40, 0x80, 0xc0]) {
    t.equal(initiator.send(logSense(control | 0x2f)).data, normal('2f 00 00 08 00 00 03 04 00 00 ff 00'))
  }
})

t.test('logical block provisioning, where there is a threshold', async (t) => {
  const { initiator, state } = fixture({ spaceThreshold: 2 ** 30 })
  t.equal(initiator.send(logSense(0)).data, normal('00 00 00 04 00 0c 0d 2f'))
  state.setSpace(5 * 2 ** 30 + 1, 2 ** 20 - 1)
  const [available, used] = ['00 01 03 08 00 00 14 00 02 00*3', '00 02 03 08 00 00 00 01 01 00*3']
  t.equal(initiator.send(logSense(0x0c)).data, normal(`0c 00 00 18 ${available} ${used}`))
  t.equal(fixture().initiator.send(logSense(0x0c)).senseCode, SENSE.INVALID_FIELD_IN_CDB)
})

t.test('a page lists itself and no other', async (t) => {
  const { initiator } = fixture()
  const listed = initiator.send(logSense(0)).dataIn.slice(4)
  for (let page = 1; page < 0x3f; page++) {
    const { dataIn, senseCode } = initiator.send(logSense(page))
    t.equal(senseCode, listed.includes(page) ? 0 : SENSE.INVALID_FIELD_IN_CDB, hex(Uint8Array.of(page)))
    if (listed.includes(page)) t.equal(dataIn[0], page)
  }
})

t.test('fields that are not good', async (t) => {
  const { initiator } = fixture()
  for (const [cdb, pointer] of [
    [logSense(0x01), 'cd 00 02'],
    [logSense(0x0d, 1), 'cf 00 03'],
    [logSense(0x00, 1), 'cd 00 02'],
    [logSense(0x0d, 0, 2), 'cf 00 05'],
    [logSense(0x00, 0, 1), 'cf 00 05'],
    [Uint8Array.of(0x4d, 1, 0, 0, 0, 0, 0, 0, 0xff, 0), 'c8 00 01'],
  ] as const) {
    t.equal(initiator.send(cdb).sense, normal(`70 00 05 00*4 0a 00*4 24 00 00 ${pointer}`))
  }
})
