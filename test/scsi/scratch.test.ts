import t from 'tap'
import { Scratch } from '../../scsi/scratch.js'
import { hex } from './support/hex.js'

t.test('writes big-endian numbers one after the other', async (t) => {
  const scratch = new Scratch()
  scratch
    .begin()
    .u8(0x112)
    .u16(0x3456)
    .u24(0x789abc)
    .u32(0xdef01234)
    .u64(2 ** 53 - 1)
  scratch.zeros(2).raw(Uint8Array.of(1, 2))
  t.equal(
    hex(scratch.bytes.subarray(0, scratch.length)),
    '12 34 56 78 9a bc de f0 12 34 00 1f ff ff ff ff ff ff 00 00 01 02',
  )
  scratch.setU8(0, 0xff)
  scratch.setU16(1, 0xeeee)
  scratch.setU32(3, 0xdddddddd)
  t.match(hex(scratch.bytes), /^ff ee ee dd dd dd dd f0 12 34/)
})

t.test('begins anew, over what was there', async (t) => {
  const scratch = new Scratch()
  scratch.begin().u32(0xffffffff)
  scratch.begin().zeros(4)
  t.equal(scratch.length, 4)
  t.equal(scratch.view.getUint32(0), 0)
})

t.test('drops what does not fit and counts it', async (t) => {
  const scratch = new Scratch()
  const size = scratch.bytes.length
  scratch
    .begin()
    .zeros(size - 4)
    .u64(1)
    .u32(5)
    .raw(new Uint8Array(100))
    .zeros(7)
  t.equal(scratch.length, size - 4 + 8 + 4 + 100 + 7)
  t.equal(scratch.bytes.length, size)
})
