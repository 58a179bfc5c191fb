import fc from 'fast-check'
import t from 'tap'
import {
  HOST_LITTLE_ENDIAN,
  maskPayload,
  type ProtocolError,
  readMask,
  readU64,
  U64_LIMIT,
  u64Payload,
  writeMask,
  writeU64,
} from 'vhost-user-protocol-ts'
import { encodeAt, hex, naive, u53, viewAt } from '../../support/vhost-user/naive.js'

t.equal(HOST_LITTLE_ENDIAN, true, 'the vectors below are for little-endian machines')

t.test('a u64 as a Number is the plain one', async () => {
  fc.assert(
    fc.property(u53, fc.nat(9), (value, offset) => {
      const bytes = encodeAt(8, offset, (view, at) => writeU64(view, at, value))
      return Buffer.compare(bytes, naive([8, value])) === 0 && readU64(viewAt(bytes, offset), offset) === value
    }),
  )
})

t.test('a mask is the plain one', async () => {
  fc.assert(
    fc.property(fc.bigInt(0n, 2n ** 64n - 1n), fc.nat(9), (mask, offset) => {
      const bytes = encodeAt(8, offset, (view, at) => writeMask(view, at, mask))
      return Buffer.compare(bytes, naive([8, mask])) === 0 && readMask(viewAt(bytes, offset), offset) === mask
    }),
  )
})

t.test('numbers from 2^53 on are refused, never rounded', async (t) => {
  fc.assert(
    fc.property(fc.bigInt(2n ** 53n, 2n ** 64n - 1n), (value) => {
      try {
        readU64(viewAt(naive([8, value]), 0), 0)
        return false
      } catch (error) {
        return (error as ProtocolError).code === 'VUS_NUMBER_RANGE'
      }
    }),
  )
  t.equal(readU64(viewAt(naive([8, U64_LIMIT - 1]), 0), 0), U64_LIMIT - 1)
})

t.test('payloads', async (t) => {
  t.same(u64Payload(0x1_0203_0405), hex('05040302 01000000'))
  t.same(maskPayload(0x8000_0001_4000_0006n), hex('06000040 01000080'))
})
