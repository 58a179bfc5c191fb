import t from 'tap'
import { ATTENTION, raiseAttention, Task, takeAttention } from '../../../scsi/index.js'
import { SENSE } from '../../../scsi/sense.js'
import { STATUS } from '../../../scsi/status.js'
import { FLAG, MODE_FLAGS } from '../../../scsi/unit-state.js'
import { type Fixture, fixture } from '../support/fixture.js'
import { bytes, normal } from '../support/hex.js'
import type { Reply } from '../support/initiator.js'

const CACHE_ON = '08 12 04 00*17'
const CACHE_OFF = '08 12 00*18'
/** Control with the given D_SENSE and SWP bytes. */
const control = (first: string, third: string): string => `0a 0a ${first} 10 ${third} 00*7`

const byte = (value: number): string => value.toString(16).padStart(2, '0')

/** MODE SELECT(6) of a list without the header, behind a header and a block descriptor if there is one. */
function select6({ initiator }: Fixture, pages: string, descriptor = ''): Reply {
  const list = bytes(`00 00 00 ${byte(descriptor === '' ? 0 : 8)} ${descriptor} ${pages}`)
  return initiator.send(`15 10 00 00 ${byte(list.length)} 00`, { out: list })
}

function select10({ initiator }: Fixture, list: string): Reply {
  const out = bytes(list)
  return initiator.send(`55 10 00 00 00 00 00 ${byte(out.length >>> 8)} ${byte(out.length & 0xff)} 00`, { out })
}

/** The field pointer of INVALID FIELD IN PARAMETER LIST, fixed format. */
const pointer = (at: number, bit = -1): string =>
  normal(`70 00 05 00*4 0a 00*4 26 00 00 ${byte(bit < 0 ? 0x80 : 0x88 | bit)} 00 ${byte(at)}`)

t.test('the write cache goes off: others are told, what is under way ends, what was written is durable', async (t) => {
  const unit = fixture()
  const other = unit.join('other')
  const reply = select6(unit, CACHE_OFF)
  t.match(reply, { status: STATUS.GOOD, residual: 0, overrun: false })
  t.equal(unit.state.flags & MODE_FLAGS, 0)
  t.same(
    unit.initiator.effects,
    [
      { type: 'persist' },
      { type: 'announce', nexuses: [other.unitNexus], attention: SENSE.MODE_PARAMETERS_CHANGED },
      { type: 'fence' },
      { type: 'flush' },
    ],
    'in this order',
  )
  t.equal(other.initiator.send('00 00 00 00 00 00').senseCode, SENSE.MODE_PARAMETERS_CHANGED)
  t.equal(other.initiator.send('00 00 00 00 00 00').status, STATUS.GOOD)
  t.equal(takeAttention(unit.unitNexus.attention), 0, 'not who did it')
  t.equal(other.initiator.send('1a 08 08 00 ff 00').data, normal(`17 00 10 00 ${CACHE_OFF}`))
})

t.test('each write is durable when there is no write cache', async (t) => {
  const unit = fixture()
  const fua = (): boolean => {
    unit.initiator.send('2a 00 00 00 00 00 00 00 01 00', { out: new Uint8Array(512) })
    return unit.initiator.task.fua
  }
  t.equal(fua(), false)
  select6(unit, CACHE_OFF)
  t.equal(fua(), true)
  select6(unit, CACHE_ON)
  t.equal(fua(), false)
})

/** Starts MODE SELECT(6) of the list in the unit's server: what it yields is the caller's to end. */
function begin({ server, unitNexus }: Fixture, list: string) {
  const task = new Task()
  task.parameters = bytes(list)
  task.parameterLength = task.dataOutLength = task.parameters.length
  task.cdbBytes.set([0x15, 0x10, 0, 0, task.parameterLength])
  const effects = server.execute(task, unitNexus)!
  const types: string[] = []
  /** Ends effects as given; whether the command has ended. */
  const end = (...results: number[]): boolean => {
    let done = false
    for (const result of results) {
      const step = effects.next(result)
      done = step.done === true
      if (!step.done) types.push(step.value.type)
    }
    return done
  }
  end(0)
  return { task, types, end }
}

t.test('a flush that fails', async (t) => {
  const unit = fixture()
  const { task, types, end } = begin(unit, `00*4 ${CACHE_OFF}`)
  t.equal(end(0, 0, 0), false)
  t.same(types, ['persist', 'announce', 'fence', 'flush'])
  t.equal(end(-5), true)
  t.equal(task.senseCode, SENSE.WRITE_ERROR)
})

t.test('what cannot be kept is taken back', async (t) => {
  const unit = fixture()
  const [told, knew] = [unit.join('told').unitNexus, unit.join('knew').unitNexus]
  raiseAttention(knew.attention, ATTENTION.MODE_PARAMETERS_CHANGED)
  const { task, types, end } = begin(unit, `00*4 ${CACHE_OFF}`)
  t.equal(unit.state.flags & FLAG.WRITE_CACHE, 0)
  t.equal(end(-28), true)
  t.same(types, ['persist'])
  t.equal(task.senseCode, SENSE.INTERNAL_TARGET_FAILURE)
  t.equal(unit.state.flags & MODE_FLAGS, FLAG.WRITE_CACHE)
  t.equal(takeAttention(told.attention), 0)
  t.equal(takeAttention(knew.attention), SENSE.MODE_PARAMETERS_CHANGED, 'that of an earlier change stays')
})

t.test('what is not changed has no effect', async (t) => {
  const unit = fixture()
  const other = unit.join('other')
  t.equal(select6(unit, CACHE_ON).status, STATUS.GOOD)
  t.equal(select6(unit, `${CACHE_OFF} ${CACHE_ON}`).status, STATUS.GOOD, 'the last one counts')
  t.equal(select6(unit, '').status, STATUS.GOOD, 'a header alone')
  t.equal(unit.initiator.send('15 10 00 00 00 00').status, STATUS.GOOD, 'not even that')
  t.equal(unit.initiator.send('15 00 00 00 00 00').status, STATUS.GOOD)
  t.same(unit.initiator.effects, [])
  t.equal(takeAttention(other.unitNexus.attention), 0)
})

t.test('descriptor format sense data', async (t) => {
  const unit = fixture()
  t.equal(select6(unit, control('06', '00')).status, STATUS.GOOD)
  t.same(
    unit.initiator.effects.map(({ type }) => type),
    ['persist', 'announce'],
    'no command has to be waited for',
  )
  t.equal(unit.initiator.send('ff 00 00 00 00 00').sense, normal('72 05 20 00 00*4'))
  t.equal(unit.initiator.send('1a 08 0a 00 ff 00').data, normal(`0f 00 10 00 ${control('06', '00')}`))
  t.equal(select6(unit, control('ff', '00')).sense, normal('72 05 26 00 00 00 00 08 02 06 00 00 8f 00 06 00'))
  t.equal(select6(unit, control('02', '00')).status, STATUS.GOOD)
  t.match(unit.initiator.send('ff 00 00 00 00 00').sense, /^70/)
})

t.test('software write protection', async (t) => {
  const unit = fixture()
  const other = unit.join('other')
  t.equal(select6(unit, control('02', '08')).status, STATUS.GOOD)
  t.same(
    unit.initiator.effects.map(({ type }) => type),
    ['persist', 'announce', 'fence'],
  )
  takeAttention(other.unitNexus.attention)
  const write = '2a 00 00 00 00 00 00 00 01 00'
  for (const { initiator } of [unit, other]) {
    t.equal(initiator.send(write, { out: new Uint8Array(512) }).senseCode, SENSE.SOFTWARE_WRITE_PROTECTED)
    t.equal(initiator.send('28 00 00 00 00 00 00 00 01 00', { in: 512 }).status, STATUS.GOOD)
    t.equal(initiator.send('35 00 00 00 00 00 00 00 00 00').status, STATUS.GOOD)
  }
  t.match(other.initiator.send('1a 08 08 00 ff 00').data, /^17 00 90 00/, 'WP')
  t.equal(select6(unit, control('02', '00')).status, STATUS.GOOD)
  t.equal(unit.initiator.send(write, { out: new Uint8Array(512) }).status, STATUS.GOOD)
  const readOnly = fixture({ readOnly: true })
  select6(readOnly, control('02', '08'))
  t.equal(
    readOnly.initiator.send(write, { out: new Uint8Array(512) }).senseCode,
    SENSE.WRITE_PROTECTED,
    'hardware first',
  )
})

t.test('several pages, and all that MODE SENSE tells sent back', async (t) => {
  const unit = fixture()
  t.equal(select6(unit, `${CACHE_OFF} ${control('06', '08')}`).status, STATUS.GOOD)
  t.equal(unit.state.flags & MODE_FLAGS, FLAG.DESCRIPTOR_SENSE | FLAG.SOFTWARE_WRITE_PROTECT)
  const all = unit.initiator.send('5a 10 3f ff 00 00 00 10 00 00').dataIn.slice()
  const length = `${byte(all.length >>> 8)} ${byte(all.length & 0xff)}`
  unit.initiator.effects.length = 0
  t.equal(unit.initiator.send(`55 10 00 00 00 00 00 ${length} 00`, { out: all }).status, STATUS.GOOD)
  t.same(unit.initiator.effects, [])
  all[24] = all[24]! | 0x80
  t.equal(unit.initiator.send(`55 10 00 00 00 00 00 ${length} 00`, { out: all }).status, STATUS.GOOD, 'PS is no matter')
})

t.test('nothing is changed unless all of the list is right', async (t) => {
  const unit = fixture()
  const before = unit.state.flags
  const cases: [list: string, sense: string][] = [
    [`${CACHE_OFF} 01 0a 00*10`, pointer(4 + 20 + 2, 7)],
    [`${CACHE_OFF} ${control('02', '10')}`, pointer(4 + 20 + 4, 4)],
    [`${CACHE_OFF} 08 12 01 00*17`, pointer(4 + 20 + 2, 0)],
    [`${CACHE_OFF} 02 0e 00*14`, pointer(4 + 20, 5)],
    [`${CACHE_OFF} 3f 00`, pointer(4 + 20, 5)],
    [`${CACHE_OFF} 0a 0b 02 10 00*9`, pointer(4 + 20 + 1)],
    [`${CACHE_OFF} 4a 02 00 1c 00*28`, pointer(4 + 20 + 1)],
    [`${CACHE_OFF} 4a 01 00 1b 00*27`, pointer(4 + 20 + 2)],
    [`${CACHE_OFF} 4a 01 00 1c 01 00*27`, pointer(4 + 20 + 4, 0)],
    [`${CACHE_OFF} 48 00 00 12 00*18`, pointer(4 + 20 + 1)],
    [`${CACHE_OFF} 4a 00 00 0a 02 10 00*8`, pointer(4 + 20 + 1)],
  ]
  for (const [list, sense] of cases) t.equal(select6(unit, list).sense, sense, list)
  for (const short of ['08', '08 12', `${CACHE_OFF} 0a`, `${CACHE_OFF} 4a 01 00`, '08 12 00*17']) {
    t.equal(select6(unit, short).senseCode, SENSE.PARAMETER_LIST_LENGTH_ERROR, short)
  }
  t.same([unit.state.flags, unit.initiator.effects], [before, []])
})

t.test('headers', async (t) => {
  const unit = fixture()
  for (const length of [1, 2, 3]) {
    const reply = unit.initiator.send(`15 10 00 00 ${byte(length)} 00`, { out: new Uint8Array(length) })
    t.equal(reply.senseCode, SENSE.PARAMETER_LIST_LENGTH_ERROR, `${length}`)
  }
  t.equal(select10(unit, '00*7').senseCode, SENSE.PARAMETER_LIST_LENGTH_ERROR)
  t.equal(select10(unit, '00*8').status, STATUS.GOOD)
  t.equal(select10(unit, `17 00 00 90 00*4 ${CACHE_ON}`).status, STATUS.GOOD, 'mode data length and WP are no matter')
  t.equal(select10(unit, `00 00 01 00*5 ${CACHE_ON}`).sense, pointer(2))
  t.equal(unit.initiator.send('15 10 00 00 04 00', { out: bytes('00 01 00 00') }).sense, pointer(1))
})

t.test('block descriptors', async (t) => {
  const unit = fixture()
  const good = ['00*4 00 00 02 00', '00 00 08 00 00 00 02 00', 'ff ff ff ff 00 00 02 00', '00*4 ff 00 02 00']
  for (const descriptor of good) t.equal(select6(unit, CACHE_ON, descriptor).status, STATUS.GOOD, descriptor)
  t.equal(select6(unit, CACHE_ON, '00 00 08 01 00 00 02 00').sense, pointer(4))
  t.equal(select6(unit, CACHE_ON, '00 00 00 00 00 00 10 00').sense, pointer(9))
  const long = (blocks: string, length: string): string => `00*4 01 00 00 10 ${blocks} 00*4 ${length} ${CACHE_ON}`
  t.equal(select10(unit, long('00*6 08 00', '00 00 02 00')).status, STATUS.GOOD)
  t.equal(select10(unit, long('00*8', '00 00 02 00')).status, STATUS.GOOD)
  t.equal(select10(unit, long('ff*8', '00 00 02 00')).status, STATUS.GOOD)
  t.equal(select10(unit, long('00*7 01', '00 00 02 00')).sense, pointer(8))
  t.equal(select10(unit, long('00*8', '01 00 02 00')).sense, pointer(20))
  t.equal(select10(unit, `00*6 00 10 00*16`).sense, pointer(6), 'two short ones')
  t.equal(select10(unit, `00*4 01 00 00 08 00*8`).sense, pointer(6), 'half a long one')
  t.equal(select10(unit, `00*6 00 08 00*7`).senseCode, SENSE.PARAMETER_LIST_LENGTH_ERROR)
  t.equal(unit.initiator.send('15 10 00 00 04 00', { out: bytes('00 00 00 07') }).sense, pointer(3))
  const large = fixture({ blockSize: 4096 }, { capacity: 2 ** 40 })
  t.equal(select6(large, CACHE_ON, 'ff ff ff ff 00 00 10 00').status, STATUS.GOOD, 'as MODE SENSE tells it')
})

t.test('CDBs', async (t) => {
  const { initiator } = fixture()
  const invalid = (at: number, bit: number): string =>
    normal(`70 00 05 00*4 0a 00*4 24 00 00 ${byte(0xc8 | bit)} 00 ${byte(at)}`)
  t.equal(initiator.send('15 00 00 00 04 00', { out: '00*4' }).sense, invalid(1, 4), 'PF 0')
  t.equal(initiator.send('15 11 00 00 04 00', { out: '00*4' }).sense, invalid(1, 0), 'SP')
  t.equal(initiator.send('55 12 00 00 00 00 00 00 08 00', { out: '00*8' }).sense, invalid(1, 1), 'RTD')
  t.equal(initiator.send('15 10 00 00 18 00', { out: '00*8' }).overrun, true, 'more than the buffer has')
  const spare = initiator.send('15 10 00 00 04 00', { out: '00*64' })
  t.match(spare, { status: STATUS.GOOD, residual: 60 })
})

t.test('LOGICAL UNIT RESET brings the defaults back', async (t) => {
  const unit = fixture()
  select6(unit, `${CACHE_OFF} ${control('06', '08')}`)
  unit.server.reset(unit.server.nexuses)
  t.equal(unit.state.flags & MODE_FLAGS, FLAG.WRITE_CACHE)
  t.equal(unit.initiator.send('00 00 00 00 00 00').senseCode, SENSE.BUS_DEVICE_RESET_FUNCTION_OCCURRED)
})
