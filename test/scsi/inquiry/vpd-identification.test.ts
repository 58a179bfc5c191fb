import t from 'tap'
import { deviceIdentification } from '../../../scsi/inquiry/vpd-identification.js'
import { CONFIG } from '../support/fixture.js'
import { ascii, hex, normal } from '../support/hex.js'

const T10 = `02 01 00 20 ${ascii('VENDOR', 8)} ${ascii('A PRODUCT', 16)} ${ascii('SERIAL-1')}`

t.test('an NAA designator and one by vendor, product and serial number', async (t) => {
  t.equal(hex(deviceIdentification(CONFIG)), normal(`01 03 00 08 30 01 02 03 04 05 06 07 ${T10}`))
})

t.test('without a world wide name', async (t) => {
  t.equal(hex(deviceIdentification({ ...CONFIG, wwn: '' })), normal(T10))
  t.equal(
    hex(deviceIdentification({ ...CONFIG, wwn: '', serial: '' })),
    normal(`02 01 00 18 ${ascii('VENDOR', 8)} ${ascii('A PRODUCT', 16)}`),
  )
})
