import t from 'tap'
import { ACCESS, NEXUS_WORD } from '../../../scsi/access.js'
import { STATUS } from '../../../scsi/index.js'
import { SENSE } from '../../../scsi/sense.js'
import { FLAG } from '../../../scsi/unit-state.js'
import { copyList, NAA_UNIT, naaUnit, segment } from '../support/copy-list.js'
import { fixture } from '../support/fixture.js'
import { bytes, normal } from '../support/hex.js'
import type { Initiator, Reply } from '../support/initiator.js'

const BLOCK = 512

function send(initiator: Initiator, list: Uint8Array): Reply {
  const cdb = bytes('83 00*15')
  new DataView(cdb.buffer).setUint32(10, list.length)
  return initiator.send(cdb, { out: list })
}

const receive = (action: string, identifier: string): string => `84 ${action} ${identifier} 00*7 00 00 10 00 00 00`

t.test('blocks are copied', async (t) => {
  const { initiator, medium } = fixture()
  medium.bytes.fill(7, 8 * BLOCK, 24 * BLOCK)
  const list = copyList({ units: [NAA_UNIT], segments: [segment(16, 8, 100), segment(1, 100, 0)] })
  t.match(send(initiator, list), { status: 0, residual: 0 })
  t.equal(medium.bytes.indexOf(7), 0)
  t.equal(medium.bytes.lastIndexOf(7), 116 * BLOCK - 1)
  t.equal(medium.bytes.indexOf(7, 24 * BLOCK), 100 * BLOCK)
  t.same(
    initiator.effects.map(({ type }) => type),
    ['detach', 'copy', 'copy'],
  )
})

t.test('long and overlapping ranges, in pieces', async (t) => {
  const { initiator, medium, state } = fixture()
  state.capacity = 2 ** 20
  medium.bytes.set([1, 2, 3])
  const copies = (...segments: Uint8Array[]): unknown[] => {
    initiator.effects.length = 0
    t.equal(send(initiator, copyList({ units: [NAA_UNIT], segments })).status, 0)
    return initiator.effects.flatMap((effect) =>
      effect.type === 'copy' ? [[effect.sourceOffset, effect.offset, effect.length]] : [],
    )
  }
  const MIB = 2 ** 20
  t.same(copies(segment(20480, 0, 2)), [
    [6 * MIB, 6 * MIB + 1024, 4 * MIB],
    [2 * MIB, 2 * MIB + 1024, 4 * MIB],
    [0, 1024, 2 * MIB],
  ])
  t.same(copies(segment(20480, 2, 0)), [
    [1024, 0, 4 * MIB],
    [4 * MIB + 1024, 4 * MIB, 4 * MIB],
    [8 * MIB + 1024, 8 * MIB, 2 * MIB],
  ])
})

t.test('no list, and lists that are wrong', async (t) => {
  const { initiator } = fixture()
  t.match(initiator.send('83 00*15'), { status: 0 })
  t.same(initiator.effects, [])
  const list = copyList({ units: [NAA_UNIT], segments: [segment(1, 0, 8)] })
  t.match(send(initiator, list.subarray(0, 40)), { senseCode: SENSE.PARAMETER_LIST_LENGTH_ERROR })
  t.match(initiator.send('83 00*9 00 00 00 4c 00 00', { out: list.subarray(0, 40) }), { overrun: true })
  t.match(initiator.send('83 01 00*8 00 00 00 4c 00 00', { out: list }), { status: 2 }, 'LID4')
})

t.test('what ends a copy, after the segments before it', async (t) => {
  const { initiator, medium } = fixture()
  medium.bytes.fill(9, 0, BLOCK)
  const list = copyList({ identifier: 5, units: [NAA_UNIT], segments: [segment(1, 0, 8), segment(1, 0, 5000)] })
  t.match(send(initiator, list), { status: STATUS.CHECK_CONDITION, senseCode: SENSE.COPY_ABORTED })
  t.equal(medium.bytes.lastIndexOf(9), 9 * BLOCK - 1)
  t.equal(
    initiator.send(receive('00', '05')).data,
    normal('00 00 00 08 02 00 01 01 00 00 00 00'),
    'failed, one segment, less than a KiB',
  )
  const details = initiator.send(receive('04', '05')).data
  t.equal(details, normal('00 00 00 4a 00*52 02 00 00 12 70 00 0a 00*4 0a 00*4 00 00 00*4'))
  t.equal(initiator.send(receive('04', '05')).data, details, 'as often as one likes')
})

t.test('results are kept for the nexus that has asked', async (t) => {
  const { initiator, join } = fixture()
  const other = join('another').initiator
  t.match(initiator.send(receive('00', '01')), { senseCode: SENSE.INVALID_FIELD_IN_CDB })
  const list = copyList({ identifier: 1, units: [NAA_UNIT], segments: [segment(8, 0, 8)] })
  t.equal(send(initiator, list).status, 0)
  t.match(other.send(receive('00', '01')), { senseCode: SENSE.INVALID_FIELD_IN_CDB })
  t.equal(initiator.send(receive('00', '01')).data, normal('00 00 00 08 01 00 01 01 00 00 00 04'))
  t.match(initiator.send(receive('00', '01')), { senseCode: SENSE.INVALID_FIELD_IN_CDB }, 'once')
  t.equal(send(initiator, list).status, 0)
  t.equal(initiator.send(receive('04', '01')).data, normal('00*4'))
  const nameless = copyList({ identifier: 0, flags: 0x18, units: [NAA_UNIT], segments: [segment(8, 0, 8)] })
  t.equal(send(initiator, nameless).status, 0)
  t.match(initiator.send(receive('00', '00')), { senseCode: SENSE.INVALID_FIELD_IN_CDB })
})

t.test('and are forgotten when the nexus does something else', async (t) => {
  const { initiator } = fixture()
  const copy = (identifier: number): Reply =>
    send(initiator, copyList({ identifier, units: [NAA_UNIT], segments: [segment(1, 0, 8)] }))
  t.equal(copy(3).status, 0)
  t.equal(copy(4).status, 0)
  t.equal(
    initiator.send('28 00 00 00 00 00 00 00 01 00', { in: BLOCK }).status,
    0,
    'a command that no server is needed for',
  )
  t.equal(initiator.send(receive('00', '03')).status, 0)
  t.equal(initiator.send('5e 00 00 00 00 00 00 00 08 00', { in: 8 }).status, 0)
  t.equal(initiator.send(receive('00', '04')).senseCode, SENSE.INVALID_FIELD_IN_CDB)
})

t.test('units that are not to be reached or written', async (t) => {
  const { initiator, state, nexus } = fixture()
  const list = copyList({ flags: 0x18, identifier: 0, units: [NAA_UNIT], segments: [segment(1, 0, 8)] })
  const strange = copyList({ units: [naaUnit('3fffffffffffffff')], segments: [segment(1, 0, 8)] })
  t.match(send(initiator, strange), { senseCode: SENSE.UNREACHABLE_COPY_TARGET })
  const access = (bits: number): void => {
    nexus.attention[NEXUS_WORD.ACCESS] = bits
  }
  // The copy manager's own command would be refused as well: what counts here is what a copy meets behind it.
  state.set(FLAG.WRITE_FAULT)
  t.match(send(initiator, list), { senseCode: SENSE.COPY_TARGET_WRITE_PROTECTED })
  state.clear(FLAG.WRITE_FAULT)
  access(ACCESS.WRITE_EXCLUSIVE)
  t.match(send(initiator, list), { status: STATUS.RESERVATION_CONFLICT })
  access(0)
  t.match(send(initiator, list), { status: 0 })
})

t.test('a reset of the unit, and a new beginning, forget the results', async (t) => {
  const { initiator, server, unitNexus, join } = fixture()
  const other = join('another')
  const list = copyList({ units: [NAA_UNIT], segments: [segment(1, 0, 8)] })
  for (const forget of [() => server.reset([]), () => server.begin(unitNexus)]) {
    for (const each of [initiator, other.initiator]) t.equal(send(each, list).status, 0)
    forget()
    while (initiator.send('00*6').status !== 0);
    t.match(initiator.send(receive('00', '01')), { senseCode: SENSE.INVALID_FIELD_IN_CDB })
  }
  while (other.initiator.send('00*6').status !== 0);
  t.equal(other.initiator.send(receive('00', '01')).status, 0, 'the beginning was that of one initiator')
})
