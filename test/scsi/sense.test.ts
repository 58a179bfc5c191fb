import fc from 'fast-check'
import t from 'tap'
import { encodeSense, NO_DETAIL, NOT_GIVEN, SENSE, SENSE_BYTES, type SenseDetail } from '../../scsi/sense.js'
import { bytes, hex, normal } from './support/hex.js'

function encode(code: number, descriptorFormat: boolean, detail: Partial<SenseDetail> = {}): string {
  const into = new Uint8Array(SENSE_BYTES).fill(0xff)
  return hex(into.subarray(0, encodeSense(into, code, descriptorFormat, { ...NO_DETAIL, ...detail })))
}

t.test('fixed format', async (t) => {
  t.equal(encode(SENSE.NO_SENSE, false), normal('70 00*6 0a 00*10'))
  t.equal(encode(SENSE.INVALID_COMMAND_OPERATION_CODE, false), normal('70 00 05 00*4 0a 00*4 20 00 00*4'))
  t.equal(
    encode(SENSE.UNRECOVERED_READ_ERROR, false, { information: 0x12345678 }),
    normal('f0 00 03 12 34 56 78 0a 00*4 11 00 00*4'),
  )
  t.equal(
    encode(SENSE.INVALID_FIELD_IN_CDB, false, { fieldByte: 1, fieldBit: 7 }),
    normal('70 00 05 00*4 0a 00*4 24 00 00 cf 00 01'),
  )
  t.equal(
    encode(SENSE.INVALID_FIELD_IN_PARAMETER_LIST, false, { fieldByte: 0x102, fieldInCdb: false }),
    normal('70 00 05 00*4 0a 00*4 26 00 00 80 01 02'),
  )
})

t.test('descriptor format', async (t) => {
  t.equal(encode(SENSE.NO_SENSE, true), normal('72 00*7'))
  t.equal(encode(SENSE.CAPACITY_DATA_HAS_CHANGED, true), normal('72 06 2a 09 00*4'))
  t.equal(
    encode(SENSE.MISCOMPARE_DURING_VERIFY_OPERATION, true, { information: 5 }),
    normal('72 0e 1d 00 00*3 0c 00 0a 80 00 00*7 05'),
  )
  t.equal(
    encode(SENSE.INVALID_FIELD_IN_CDB, true, { fieldByte: 2, fieldBit: 5 }),
    normal('72 05 24 00 00*3 08 02 06 00 00 cd 00 02 00'),
  )
})

t.test('an INFORMATION field of more than 32 bits needs descriptor format', async (t) => {
  t.match(encode(SENSE.WRITE_ERROR, false, { information: 2 ** 32 - 1 }), /^f0 .. 03 ff ff ff ff/)
  t.equal(
    encode(SENSE.WRITE_ERROR, false, { information: 2 ** 32 + 1 }),
    normal('72 03 0c 00 00*3 0c 00 0a 80 00 00 00 00 01 00 00 00 01'),
  )
})

/** The same by SPC-4's tables, put together the slow way. */
function naive(code: number, descriptorFormat: boolean, detail: SenseDetail): number[] {
  const [key, asc, ascq] = [Math.floor(code / 65536), Math.floor(code / 256) % 256, code % 256]
  const information = detail.information >= 0 ? BigInt(detail.information) : null
  const parts = Math.min(Math.floor(detail.progress * 65536), 65535)
  const progress = detail.progress < 0 ? null : [128, Math.floor(parts / 256), parts % 256]
  const pointer =
    progress !== null || detail.fieldByte < 0
      ? progress
      : [
          128 + (detail.fieldInCdb ? 64 : 0) + (detail.fieldBit < 0 ? 0 : 8 + detail.fieldBit),
          Math.floor(detail.fieldByte / 256),
          detail.fieldByte % 256,
        ]
  const big = (value: bigint, size: number): number[] => [
    ...bytes(
      value
        .toString(16)
        .padStart(size * 2, '0')
        .replace(/../g, '$& '),
    ),
  ]
  if (descriptorFormat || (information !== null && information >= 2n ** 32n)) {
    const descriptors = [
      ...(information === null ? [] : [0, 10, 128, 0, ...big(information, 8)]),
      ...(pointer === null ? [] : [2, 6, 0, 0, ...pointer, 0]),
    ]
    return [0x72, key, asc, ascq, 0, 0, 0, descriptors.length, ...descriptors]
  }
  const valid = information === null ? 0x70 : 0xf0
  return [valid, 0, key, ...big(information ?? 0n, 4), 10, 0, 0, 0, 0, asc, ascq, 0, ...(pointer ?? [0, 0, 0])]
}

t.test('encodeSense agrees with its plain twin', async (t) => {
  const detail = fc.record({
    information: fc.oneof(fc.constant(NOT_GIVEN), fc.nat(), fc.maxSafeNat()),
    fieldByte: fc.oneof(fc.constant(NOT_GIVEN), fc.nat(0xffff)),
    fieldBit: fc.oneof(fc.constant(NOT_GIVEN), fc.nat(7)),
    fieldInCdb: fc.boolean(),
    progress: fc.oneof(fc.constant(NOT_GIVEN), fc.double({ min: 0, max: 1, noNaN: true })),
  })
  const into = new Uint8Array(SENSE_BYTES)
  fc.assert(
    fc.property(fc.constantFrom(...Object.values(SENSE)), fc.boolean(), detail, (code, descriptorFormat, detail) => {
      const length = encodeSense(into, code, descriptorFormat, detail)
      t.same([...into.subarray(0, length)], naive(code, descriptorFormat, detail))
    }),
  )
})

t.test('every name has a code of its own, in range', async (t) => {
  const codes = Object.values(SENSE)
  t.equal(new Set(codes).size, codes.length)
  t.ok(codes.every((code) => code >>> 16 <= 0xf))
})
