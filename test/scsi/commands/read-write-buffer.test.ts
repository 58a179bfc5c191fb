import t from 'tap'
import { SENSE } from '../../../scsi/sense.js'
import { fixture } from '../support/fixture.js'
import { hex, normal } from '../support/hex.js'

/** READ BUFFER in both forms. */
function reads(mode: number, id: number, offset: number, length: number): Uint8Array[] {
  const [high, low] = [offset >>> 8, offset & 0xff]
  return [
    Uint8Array.of(0x3c, mode, id, 0, high, low, 0, length >>> 8, length, 0),
    Uint8Array.of(0x9b, mode, 0, 0, 0, 0, 0, 0, high, low, 0, 0, length >>> 8, length, id, 0),
  ]
}

const write = (mode: number, id: number, offset: number, length: number): Uint8Array =>
  Uint8Array.of(0x3b, mode, id, 0, offset >>> 8, offset, 0, length >>> 8, length, 0)

t.test('descriptors of the buffers', async (t) => {
  const { initiator } = fixture()
  for (const cdb of reads(3, 0, 0, 255)) t.equal(initiator.send(cdb).data, '00 00 10 00')
  for (const cdb of reads(3, 1, 0, 255)) t.equal(initiator.send(cdb).data, '00 00 00 00')
  for (const cdb of reads(3, 0, 0, 2)) t.equal(initiator.send(cdb).data, '00 00')
  for (const cdb of reads(0x0b, 7, 9, 255)) t.equal(initiator.send(cdb).data, '01 00 02 00')
})

t.test('the data buffer is the same for all', async (t) => {
  const { initiator, join } = fixture()
  const other = join('other').initiator
  t.match(initiator.send(write(2, 0, 4094, 2), { out: '12 34' }), { status: 0, residual: 0 })
  t.equal(initiator.send(write(2, 0, 0, 3), { out: '56 78 9a' }).status, 0)
  t.equal(initiator.send(write(2, 0, 4096, 0)).status, 0)
  for (const each of [initiator, other]) {
    for (const cdb of reads(2, 0, 0, 5)) t.equal(each.send(cdb).data, normal('56 78 9a 00 00'))
    for (const cdb of reads(2, 0, 4093, 0xffff)) t.equal(each.send(cdb).data, normal('00 12 34'))
    for (const cdb of reads(2, 0, 4096, 9)) t.match(each.send(cdb), { status: 0, data: '' })
  }
  for (const cdb of reads(2, 0, 0, 100)) t.equal(initiator.send(cdb, { in: 99 }).overrun, true)
})

t.test('each nexus has an echo buffer, which begins unwritten', async (t) => {
  const { initiator, join } = fixture()
  const other = join('other').initiator
  for (const cdb of reads(0x0a, 0, 0, 64)) t.equal(initiator.send(cdb).senseCode, SENSE.COMMAND_SEQUENCE_ERROR)
  t.equal(initiator.send(write(0x0a, 3, 5, 4), { out: '01 02 03 04' }).status, 0)
  t.equal(other.send(write(0x0a, 0, 0, 512), { out: '55*512' }).status, 0)
  for (const cdb of reads(0x0a, 9, 9, 64)) t.equal(initiator.send(cdb).data, normal('01 02 03 04'))
  for (const cdb of reads(0x0a, 0, 0, 3)) t.equal(initiator.send(cdb).data, normal('01 02 03'))
  for (const cdb of reads(0x0a, 0, 0, 1024)) t.equal(hex(other.send(cdb).dataIn), normal('55*512'))
  t.equal(initiator.send(write(0x0a, 0, 0, 2), { out: '09 08' }).status, 0)
  for (const cdb of reads(0x0a, 0, 0, 64)) t.equal(initiator.send(cdb).data, '09 08')
})

t.test('what is not there', async (t) => {
  const { initiator } = fixture()
  const field = (pointer: string): string => normal(`70 00 05 00*4 0a 00*4 24 00 00 ${pointer}`)
  for (const mode of [0, 1, 4, 0x0d, 0x1f]) {
    for (const cdb of [...reads(mode, 0, 0, 4), write(mode, 0, 0, 4)]) {
      t.equal(initiator.send(cdb, { out: '00*4' }).sense, field('cc 00 01'))
    }
  }
  for (const [cdbs, pointers] of [
    [reads(2, 1, 0, 4), ['cf 00 02', 'cf 00 0e']],
    [reads(2, 0, 4097, 4), ['cf 00 03', 'cf 00 02']],
    [[write(2, 1, 0, 4)], ['cf 00 02']],
    [[write(2, 0, 4097, 0)], ['cf 00 03']],
    [[write(2, 0, 4093, 4)], ['cf 00 06']],
    [[write(0x0a, 0, 0, 513)], ['cf 00 06']],
  ] as const) {
    for (const [i, cdb] of cdbs.entries()) t.equal(initiator.send(cdb, { out: '00*4096' }).sense, field(pointers[i]!))
  }
  t.equal(initiator.send(Uint8Array.of(0x3c, 0x22, 0, 0, 0, 0, 0, 0, 4, 0)).sense, field('cd 00 01'), 'MODE SPECIFIC')
  t.equal(initiator.send(write(2, 0, 0, 4), { out: '00*3' }).overrun, true)
  for (const cdb of reads(2, 0, 0, 4)) t.equal(initiator.send(cdb).data, '00 00 00 00', 'nothing was written')
})
