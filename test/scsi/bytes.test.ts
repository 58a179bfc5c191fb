import fc from 'fast-check'
import t from 'tap'
import { getU64, putAscii, putU64 } from '../../scsi/bytes.js'

t.test('getU64 and putU64 agree with BigInt up to 2^53', async () => {
  const view = new DataView(new ArrayBuffer(16))
  fc.assert(
    fc.property(fc.maxSafeNat(), fc.nat(8), (value, at) => {
      putU64(view, at, value)
      return view.getBigUint64(at) === BigInt(value) && getU64(view, at) === value
    }),
  )
})

t.test('getU64 of what is beyond 2^53 is the nearest double, beyond 2^53 too', async (t) => {
  const view = new DataView(new ArrayBuffer(8))
  for (const value of [2n ** 53n, 2n ** 53n + 1n, 2n ** 63n, 2n ** 64n - 1n]) {
    view.setBigUint64(0, value)
    t.equal(getU64(view, 0), Number(value))
    t.ok(getU64(view, 0) >= 2 ** 53)
  }
})

t.test('putAscii pads with spaces and cuts', async (t) => {
  const into = new Uint8Array(6).fill(0xff)
  putAscii(into, 1, 4, 'ab')
  t.same([...into], [0xff, 0x61, 0x62, 0x20, 0x20, 0xff])
  putAscii(into, 1, 4, 'abcdefgh')
  t.same([...into], [0xff, 0x61, 0x62, 0x63, 0x64, 0xff])
})
