import t from 'tap'
import {
  hexAt,
  initiatorAt,
  putHex,
  putTransportId,
  TRANSPORT_ID_BYTES,
} from '../../../scsi/reservations/transport-id.js'
import { bytes, hex } from '../support/hex.js'

t.test('a TransportID of SAS, and back', async (t) => {
  const into = bytes('ff*30')
  putTransportId(into, 3, '3b1c2d3e4f506172')
  t.equal(hex(into.subarray(3, 3 + TRANSPORT_ID_BYTES)), hex(bytes('06 00 00 00 3b 1c 2d 3e 4f 50 61 72 00*12')))
  t.equal(hex(into.subarray(0, 3)), hex(bytes('ff*3')))
  t.equal(hex(into.subarray(27)), hex(bytes('ff*3')))
  t.equal(initiatorAt(into, 3), '3b1c2d3e4f506172')
})

t.test('of other protocols there is none', async (t) => {
  const id = new Uint8Array(TRANSPORT_ID_BYTES)
  for (let first = 0; first < 256; first++) {
    id[0] = first
    t.equal(initiatorAt(id, 0) === undefined, first !== 6, `${first}`)
  }
})

t.test('digits', async (t) => {
  const into = new Uint8Array(10)
  putHex(into, 1, '00f0123456789abc')
  t.equal(hexAt(into, 1), '00f0123456789abc')
  t.equal(hex(into), hex(bytes('00 00 f0 12 34 56 78 9a bc 00')))
})
