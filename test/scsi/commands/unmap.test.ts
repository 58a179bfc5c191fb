import t from 'tap'
import { ERRNO } from '../../../scsi/errno.js'
import { SENSE } from '../../../scsi/sense.js'
import { ACTION } from '../../../scsi/task.js'
import { fixture } from '../support/fixture.js'
import { bytes, normal } from '../support/hex.js'

type Range = readonly [number, number]

/** A parameter list; the lengths in it can be told otherwise. */
function list(ranges: readonly Range[], lengths: { data?: number; descriptors?: number } = {}): Uint8Array {
  const view = new DataView(new ArrayBuffer(8 + 16 * ranges.length))
  view.setUint16(0, lengths.data ?? view.byteLength - 2)
  view.setUint16(2, lengths.descriptors ?? 16 * ranges.length)
  for (const [i, [lba, blocks]] of ranges.entries()) {
    view.setBigUint64(8 + 16 * i, BigInt(lba))
    view.setUint32(16 + 16 * i, blocks)
  }
  return new Uint8Array(view.buffer)
}

function cdb(length: number): Uint8Array {
  return Uint8Array.of(0x42, 0, 0, 0, 0, 0, 0, length >>> 8, length, 0)
}

t.test('one range is one operation', async (t) => {
  const { initiator, medium } = fixture()
  medium.bytes.fill(1)
  const out = list([[8, 16]])
  t.match(initiator.send(cdb(24), { out }), { status: 0, residual: 0 })
  t.same(medium.log, [[ACTION.DISCARD, 4096, 8192, false]])
  t.equal(medium.bytes.indexOf(0), 4096)
  t.equal(medium.bytes.lastIndexOf(0), 4096 + 8191)
})

t.test('several are a program, empty ones left out', async (t) => {
  const { initiator, medium } = fixture()
  const ranges: Range[] = [
    [0, 8],
    [100, 0],
    [2040, 8],
    [16, 1],
  ]
  t.match(initiator.send(cdb(72), { out: list(ranges) }), { status: 0, residual: 0 })
  t.same(
    medium.log.map(([action, offset, length]) => [action, offset, length]),
    [
      [ACTION.DISCARD, 0, 4096],
      [ACTION.DISCARD, 2040 * 512, 4096],
      [ACTION.DISCARD, 16 * 512, 512],
    ],
  )
})

t.test('a failure ends the program', async (t) => {
  const { initiator, medium } = fixture()
  const out = list([
    [0, 8],
    [8, 8],
  ])
  medium.faults.set(ACTION.DISCARD, ERRNO.EIO)
  t.equal(initiator.send(cdb(40), { out }).senseCode, SENSE.WRITE_ERROR)
  t.equal(medium.log.length, 1)
})

t.test('a program keeps its ranges when the parameter buffer is used for another command', async (t) => {
  const { nexus, initiator } = fixture()
  const task = initiator.task
  task.cdbBytes.set(cdb(40))
  const shared = list([
    [1, 2],
    [3, 4],
  ])
  Object.assign(task, { dataOutLength: 40, parameters: shared, parameterLength: 40 })
  nexus.execute(task)
  shared.fill(0xff)
  task.program!.next(0)
  t.match(task, { action: ACTION.DISCARD, offset: 512, length: 1024 })
  task.program!.next(0)
  t.match(task, { action: ACTION.DISCARD, offset: 1536, length: 2048 })
  t.equal(task.program!.next(0).done, true)
  t.equal(task.status, 0)
})

t.test('nothing to do', async (t) => {
  const { initiator, medium } = fixture()
  t.match(initiator.send(cdb(0)), { status: 0, overrun: false })
  t.equal(initiator.send(cdb(8), { out: list([]) }).status, 0)
  t.equal(initiator.send(cdb(24), { out: list([[5, 0]]) }).status, 0)
  t.equal(initiator.send(cdb(24), { out: list([[2048, 0]]) }).status, 0)
  t.same(medium.log, [])
})

t.test('an incomplete descriptor is left out', async (t) => {
  const { initiator, medium } = fixture()
  const out = list(
    [
      [0, 1],
      [5, 1],
    ],
    { descriptors: 31 },
  )
  t.equal(initiator.send(cdb(40), { out }).status, 0)
  t.equal(medium.log.length, 1)
})

t.test('lengths that do not fit', async (t) => {
  const { initiator, medium } = fixture()
  const out = list([[0, 1]])
  for (const length of [1, 2, 7]) {
    t.equal(initiator.send(cdb(length), { out }).senseCode, SENSE.PARAMETER_LIST_LENGTH_ERROR, `${length}`)
  }
  t.equal(initiator.send(cdb(23), { out }).senseCode, SENSE.PARAMETER_LIST_LENGTH_ERROR)
  t.equal(initiator.send(cdb(24), { out: list([[0, 1]], { data: 23 }) }).senseCode, SENSE.PARAMETER_LIST_LENGTH_ERROR)
  t.equal(
    initiator.send(cdb(24), { out: list([[0, 1]], { descriptors: 17 }) }).senseCode,
    SENSE.PARAMETER_LIST_LENGTH_ERROR,
  )
  t.equal(
    initiator.send(cdb(24), { out: list([[0, 1]], { descriptors: 0xffff }) }).senseCode,
    SENSE.PARAMETER_LIST_LENGTH_ERROR,
  )
  t.match(initiator.send(cdb(25), { out }), { overrun: true })
  t.match(initiator.send(cdb(0xffff), { out }), { overrun: true })
  t.same(medium.log, [])
})

t.test('nothing is unmapped unless every range is right', async (t) => {
  const { initiator, medium } = fixture()
  for (const bad of [
    [2047, 2],
    [2049, 0],
    [2 ** 53 - 1, 1],
  ] as const) {
    t.equal(initiator.send(cdb(40), { out: list([[0, 8], bad]) }).senseCode, SENSE.LOGICAL_BLOCK_ADDRESS_OUT_OF_RANGE)
  }
  const out = list([[0, 8]])
  out.set(bytes('ff*8 ff*4'), 8)
  t.equal(initiator.send(cdb(24), { out }).senseCode, SENSE.LOGICAL_BLOCK_ADDRESS_OUT_OF_RANGE)
  t.same(medium.log, [])
})

t.test('no more descriptors and blocks than the Block Limits page tells', async (t) => {
  const { initiator, medium } = fixture()
  const ranges = (count: number): Range[] => Array.from({ length: count }, (_, i) => [i, 1])
  t.equal(initiator.send(cdb(8 + 16 * 256), { out: list(ranges(256)) }).status, 0)
  t.equal(medium.log.length, 256)
  t.equal(
    initiator.send(cdb(8 + 16 * 257), { out: list(ranges(257)) }).sense,
    normal('70 00 05 00*4 0a 00*4 26 00 00 80 00 02'),
  )
  const large = fixture({}, { capacity: 2 ** 32 })
  large.medium.faults.set(ACTION.DISCARD, ERRNO.ENOSPC)
  t.equal(
    large.initiator.send(cdb(24), { out: list([[0, 0x100000]]) }).senseCode,
    SENSE.SPACE_ALLOCATION_FAILED_WRITE_PROTECT,
  )
  t.equal(
    large.initiator.send(cdb(40), {
      out: list([
        [0, 0x100000],
        [0, 1],
      ]),
    }).sense,
    normal('70 00 05 00*4 0a 00*4 26 00 00 80 00 20'),
  )
})

t.test('ANCHOR is refused', async (t) => {
  t.equal(
    fixture().initiator.send('42 01 00*5 00 18 00', { out: list([[0, 1]]) }).senseCode,
    SENSE.INVALID_FIELD_IN_CDB,
  )
})
