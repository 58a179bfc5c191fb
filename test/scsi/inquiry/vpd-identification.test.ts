import t from 'tap'
import { deviceIdentification } from '../../../scsi/inquiry/vpd-identification.js'
import { CONFIG } from '../support/fixture.js'
import { ascii, hex, normal } from '../support/hex.js'

const T10 = `02 01 00 20 ${ascii('VENDOR', 8)} ${ascii('A PRODUCT', 16)} ${ascii('SERIAL-1')}`

t.test('an NAA designator and one by vendor, product and serial number', async (t) => {
  t.equal(hex(deviceIdentification(CONFIG, null)), normal(`01 03 00 08 30 01 02 03 04 05 06 07 ${T10}`))
})

t.test('without a world wide name', async (t) => {
  t.equal(hex(deviceIdentification({ ...CONFIG, wwn: '' }, null)), normal(T10))
  t.equal(
    hex(deviceIdentification({ ...CONFIG, wwn: '', serial: '' }, null)),
    normal(`02 01 00 18 ${ascii('VENDOR', 8)} ${ascii('A PRODUCT', 16)}`),
  )
})

t.test('the target port: its name, its number, its group', async (t) => {
  const page = hex(deviceIdentification({ ...CONFIG, wwn: '' }, { relative: 0x1234, name: '3fedcba987654321' }))
  const port = '01 13 00 08 3f ed cb a9 87 65 43 21 01 14 00 04 00 00 12 34 01 15 00 04 00 00 00 01'
  t.equal(page, normal(`${T10} ${port}`))
})
