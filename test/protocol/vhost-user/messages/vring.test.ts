import fc from 'fast-check'
import t from 'tap'
import {
  decodeVringAddress,
  decodeVringArea,
  decodeVringFd,
  decodeVringState,
  encodeVringAddress,
  encodeVringArea,
  encodeVringFd,
  encodeVringState,
  packBase,
  unpackBase,
  VRING_ADDRESS,
  VRING_AREA,
  VRING_FD,
  VRING_STATE,
} from 'vhost-user-protocol-ts'
import { encodeAt, hex, naive, u8, u32, u53, viewAt } from '../../../support/vhost-user/naive.js'

t.test('vring state', async (t) => {
  fc.assert(
    fc.property(u32, u32, fc.nat(9), (index, num, offset) => {
      const bytes = encodeAt(VRING_STATE.SIZE, offset, (view, at) => encodeVringState(view, at, { index, num }))
      t.same(bytes, naive([4, index], [4, num]))
      t.same(decodeVringState(viewAt(bytes, offset), offset), { index, num })
    }),
  )
  t.same(decodeVringState(viewAt(hex('02000000 80000000'), 0), 0), { index: 2, num: 128 })
})

t.test('vring address', async (t) => {
  const address = fc.record({ index: u32, flags: u32, desc: u53, used: u53, avail: u53, log: u53 })
  fc.assert(
    fc.property(address, fc.nat(9), (a, offset) => {
      const bytes = encodeAt(VRING_ADDRESS.SIZE, offset, (view, at) => encodeVringAddress(view, at, a))
      t.same(bytes, naive([4, a.index], [4, a.flags], [8, a.desc], [8, a.used], [8, a.avail], [8, a.log]))
      t.same(decodeVringAddress(viewAt(bytes, offset), offset), a)
    }),
  )
  const bytes = hex('02000000 01000000 0000f0f6 567f0000 4018f0f6 567f0000 0008f0f6 567f0000 40180000 00000000')
  t.same(decodeVringAddress(viewAt(bytes, 0), 0), {
    index: 2,
    flags: 1,
    desc: 0x7f56f6f00000,
    used: 0x7f56f6f01840,
    avail: 0x7f56f6f00800,
    log: 0x1840,
  })
  bytes[VRING_ADDRESS.AVAIL + 7] = 0x80
  t.throws(() => decodeVringAddress(viewAt(bytes, 0), 0), { code: 'VUS_NUMBER_RANGE' })
})

t.test('vring descriptor', async (t) => {
  fc.assert(
    fc.property(u8, fc.boolean(), fc.nat(9), (index, hasFd, offset) => {
      const bytes = encodeAt(VRING_FD.SIZE, offset, (view, at) => encodeVringFd(view, at, { index, hasFd }))
      t.same(bytes, naive([8, index + (hasFd ? 0 : 256)]))
      t.same(decodeVringFd(viewAt(bytes, offset), offset), { index, hasFd })
    }),
  )
  t.same(decodeVringFd(viewAt(hex('0301000000000000'), 0), 0), { index: 3, hasFd: false })
  t.throws(() => decodeVringFd(viewAt(hex('0302000000000000'), 0), 0), { code: 'VUS_BAD_PAYLOAD' })
  t.throws(() => decodeVringFd(viewAt(hex('0300000001000000'), 0), 0), { code: 'VUS_BAD_PAYLOAD' })
  t.throws(() => decodeVringFd(viewAt(hex('ffffffffffffffff'), 0), 0), { code: 'VUS_NUMBER_RANGE' })
})

t.test('vring area', async (t) => {
  const area = fc.record({ index: u8, hasFd: fc.boolean(), size: u53, offset: u53 })
  fc.assert(
    fc.property(area, fc.nat(9), (a, offset) => {
      const bytes = encodeAt(VRING_AREA.SIZE, offset, (view, at) => encodeVringArea(view, at, a))
      t.same(bytes, naive([8, a.index + (a.hasFd ? 0 : 256)], [8, a.size], [8, a.offset]))
      t.same(decodeVringArea(viewAt(bytes, offset), offset), a)
    }),
  )
  t.throws(() => decodeVringArea(viewAt(hex('00020000').slice(0, 4), 0), 0), RangeError, 'too few bytes')
})

t.test('base of a packed ring', async (t) => {
  const base = fc.record({
    avail: fc.nat(0x7fff),
    availWrap: fc.boolean(),
    used: fc.nat(0x7fff),
    usedWrap: fc.boolean(),
  })
  fc.assert(
    fc.property(base, (b) => {
      const plain = b.avail + (b.availWrap ? 2 ** 15 : 0) + b.used * 2 ** 16 + (b.usedWrap ? 2 ** 31 : 0)
      t.equal(packBase(b), plain)
      t.same(unpackBase(plain), b)
    }),
  )
  t.same(unpackBase(0x80008000), { avail: 0, availWrap: true, used: 0, usedWrap: true }, 'a new ring')
})
