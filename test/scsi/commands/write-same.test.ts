import t from 'tap'
import { ERRNO } from '../../../scsi/errno.js'
import { SENSE } from '../../../scsi/sense.js'
import { ACTION } from '../../../scsi/task.js'
import { FLAG } from '../../../scsi/unit-state.js'
import { fixture } from '../support/fixture.js'
import { normal } from '../support/hex.js'

const ZEROS = new Uint8Array(512)
const PATTERN = new Uint8Array(512).map((_, i) => i & 0xff)

/** Both forms for LBA 5 and a number of blocks. */
function forms(options: number, blocks: number): Uint8Array[] {
  const high = blocks >>> 16
  return [
    Uint8Array.of(0x41, options, 0, 0, 0, 5, 0, blocks >>> 8, blocks, 0),
    Uint8Array.of(0x93, options, 0, 0, 0, 0, 0, 0, 0, 5, high >>> 8, high, blocks >>> 8, blocks, 0, 0),
  ]
}

t.test('a pattern is written over and over, UNMAP or not', async (t) => {
  for (const options of [0, 0x08]) {
    for (const cdb of forms(options, 3)) {
      const { initiator, medium } = fixture()
      t.match(initiator.send(cdb, { out: PATTERN }), { status: 0, residual: 0 })
      for (const lba of [5, 6, 7]) t.same(medium.bytes.subarray(lba * 512, lba * 512 + 512), PATTERN)
      t.same(medium.log, [[ACTION.WRITE_PATTERN, 2560, 1536, false]])
      t.equal(initiator.task.patternLength, 512)
    }
  }
})

t.test('zeros may be deallocated if UNMAP says so', async (t) => {
  for (const [options, mayUnmap] of [
    [0, false],
    [0x08, true],
  ] as const) {
    for (const cdb of forms(options, 3)) {
      const { initiator, medium } = fixture()
      medium.bytes.fill(1)
      t.match(initiator.send(cdb, { out: ZEROS }), { status: 0, residual: 0 })
      t.same(medium.log, [[ACTION.WRITE_ZEROES, 2560, 1536, mayUnmap]])
      t.equal(medium.bytes.indexOf(0), 2560)
      t.equal(medium.bytes.lastIndexOf(0), 2560 + 1535)
    }
  }
})

t.test('a pattern of zeros but for its last byte is no zeros', async (t) => {
  const { initiator, medium } = fixture()
  const almost = new Uint8Array(512)
  almost[511] = 1
  initiator.send(forms(0, 1)[0]!, { out: almost })
  t.equal(medium.log[0]![0], ACTION.WRITE_PATTERN)
})

t.test('data-out of any length but a block is refused', async (t) => {
  const { initiator, medium } = fixture()
  for (const out of [new Uint8Array(4096), new Uint8Array(513), ZEROS.subarray(1), new Uint8Array(0)]) {
    for (const cdb of forms(0, 1)) {
      const reply = initiator.send(cdb, { out })
      t.match(reply, { status: 2, overrun: false, sense: normal('70 00 05 00*4 0a 00*4 0e 03 00 00 00 00') })
    }
  }
  t.same(medium.log, [])
})

t.test('NDOB needs no data', async (t) => {
  const { initiator, medium } = fixture()
  const cdb = forms(0x01, 2)[1]!
  t.match(initiator.send(cdb), { status: 0, overrun: false })
  t.match(initiator.send(forms(0x09, 2)[1]!, { out: PATTERN }), { status: 0, residual: 512 })
  t.same(medium.log, [
    [ACTION.WRITE_ZEROES, 2560, 1024, false],
    [ACTION.WRITE_ZEROES, 2560, 1024, true],
  ])
})

t.test('blocks of 4096 bytes', async (t) => {
  const { initiator, medium } = fixture({ blockSize: 4096 })
  const pattern = new Uint8Array(4096)
  pattern[4095] = 1
  t.equal(initiator.send(forms(0, 2)[0]!, { out: pattern }).status, 0)
  t.same(medium.log, [[ACTION.WRITE_PATTERN, 5 * 4096, 8192, false]])
})

t.test('the range is looked at first, then the number of blocks: 0 and too many are refused', async (t) => {
  const { initiator, medium } = fixture({}, { capacity: 2 ** 30 })
  const [ten, sixteen] = forms(0, 0)
  t.equal(initiator.send(ten!, { out: ZEROS }).sense, normal('70 00 05 00*4 0a 00*4 24 00 00 cf 00 07'))
  t.equal(initiator.send(sixteen!, { out: ZEROS }).sense, normal('70 00 05 00*4 0a 00*4 24 00 00 cf 00 0a'))
  t.equal(initiator.send(forms(0, 0x100001)[1]!, { out: ZEROS }).senseCode, SENSE.INVALID_FIELD_IN_CDB)
  t.equal(
    initiator.send('93 00 ff*8 00 00 00 00 00 00', { out: ZEROS }).senseCode,
    SENSE.LOGICAL_BLOCK_ADDRESS_OUT_OF_RANGE,
  )
  t.equal(
    initiator.send('41 00 80 00 00 00 00 00 00 00', { out: ZEROS }).senseCode,
    SENSE.LOGICAL_BLOCK_ADDRESS_OUT_OF_RANGE,
  )
  t.same(medium.log, [])
  medium.faults.set(ACTION.WRITE_ZEROES, ERRNO.ENOSPC)
  t.equal(initiator.send(forms(0, 0x100000)[1]!, { out: ZEROS }).senseCode, SENSE.SPACE_ALLOCATION_FAILED_WRITE_PROTECT)
})

t.test('ANCHOR, PBDATA, LBDATA and WRPROTECT are refused', async (t) => {
  const { initiator } = fixture()
  for (const options of [0x10, 0x18, 0x04, 0x02, 0x20, 0xe0]) {
    for (const cdb of forms(options, 1)) {
      t.equal(initiator.send(cdb, { out: ZEROS }).senseCode, SENSE.INVALID_FIELD_IN_CDB)
    }
  }
  t.equal(initiator.send(forms(0x01, 1)[0]!, { out: ZEROS }).senseCode, SENSE.INVALID_FIELD_IN_CDB)
})

t.test('without a write cache it is durable', async (t) => {
  const { initiator, state } = fixture()
  state.clear(FLAG.WRITE_CACHE)
  initiator.send(forms(0, 1)[0]!, { out: PATTERN })
  t.equal(initiator.task.fua, true)
})
