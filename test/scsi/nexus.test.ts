import t from 'tap'
import { ACCESS, NEXUS_WORD } from '../../scsi/access.js'
import { DISK_COMMANDS } from '../../scsi/cdb-table.js'
import { NEED } from '../../scsi/command.js'
import { Nexus } from '../../scsi/nexus.js'
import { SENSE } from '../../scsi/sense.js'
import { STATUS } from '../../scsi/status.js'
import { ACTION, DIRECTION, Task } from '../../scsi/task.js'
import { ATTENTION, raise } from '../../scsi/unit-attention.js'
import { FLAG } from '../../scsi/unit-state.js'
import { attentionWord, fixture } from './support/fixture.js'
import { bytes } from './support/hex.js'
import { Initiator } from './support/initiator.js'

const TEST_UNIT_READY = '00*6'
const READ = '28 00 00 00 00 00 00 00 01 00'
const WRITE = '2a 00 00 00 00 00 00 00 01 00'
const FLUSH = '35 00*9'
const BLOCK = new Uint8Array(512)

t.test('a unit attention is reported once, by any command that does not let it be', async (t) => {
  const { initiator, nexus } = fixture()
  raise(nexus.attention, ATTENTION.CAPACITY_CHANGED)
  raise(nexus.attention, ATTENTION.BUS_DEVICE_RESET)
  t.equal(initiator.send('12 00 00 00 24 00').status, 0)
  t.equal(initiator.send('a0 00*5 00 00 00 10 00 00').status, 0)
  t.equal(initiator.send(WRITE, { out: BLOCK }).senseCode, SENSE.BUS_DEVICE_RESET_FUNCTION_OCCURRED)
  t.equal(initiator.send('ff').senseCode, SENSE.CAPACITY_DATA_HAS_CHANGED)
  t.equal(initiator.send(TEST_UNIT_READY).status, 0)
})

t.test('a unit attention is one nexus’s own', async (t) => {
  const { initiator, unit, nexus, medium } = fixture()
  const other = new Nexus(unit, 0, 1, attentionWord(), false)
  const otherInitiator = new Initiator((task) => other.execute(task), medium)
  raise(other.attention, ATTENTION.POWER_ON)
  t.equal(initiator.send(TEST_UNIT_READY).status, 0)
  t.equal(otherInitiator.send(TEST_UNIT_READY).senseCode, SENSE.POWER_ON_RESET_OR_BUS_DEVICE_RESET_OCCURRED)
  t.equal(nexus.attention[0], 0)
})

t.test('a new nexus has no unit attention: the owner of the word says when there was a power on', async (t) => {
  t.equal(fixture().nexus.attention[0], 0)
})

t.test('a unit that is not ready or has no medium', async (t) => {
  for (const [flag, sense] of [
    [FLAG.NOT_READY, SENSE.LOGICAL_UNIT_NOT_READY],
    [FLAG.EJECTED, SENSE.MEDIUM_NOT_PRESENT],
  ] as const) {
    const { initiator, state } = fixture()
    state.set(flag)
    for (const command of DISK_COMMANDS.commands) {
      const cdb = Uint8Array.from([command.opcode, Math.max(command.serviceAction, 0), ...bytes('00*14')])
      const { senseCode } = initiator.send(cdb, { out: new Uint8Array(4096) })
      if ((command.needs & NEED.MEDIUM) !== 0) t.equal(senseCode, sense, command.name)
      else t.notMatch(senseCode >>> 16, 2, command.name)
    }
    state.clear(flag)
    t.equal(initiator.send(TEST_UNIT_READY).status, 0)
  }
})

t.test('what is read-only is not written', async (t) => {
  const cases = [fixture({ readOnly: true }), fixture({}, { readOnly: true }), fixture()]
  cases[2]!.state.set(FLAG.READ_ONLY)
  for (const { initiator, medium } of cases) {
    for (const command of DISK_COMMANDS.commands) {
      const cdb = Uint8Array.from([command.opcode, Math.max(command.serviceAction, 0), ...bytes('00*14')])
      const { senseCode } = initiator.send(cdb, { out: new Uint8Array(4096) })
      if ((command.needs & NEED.WRITES) !== 0) t.equal(senseCode, SENSE.WRITE_PROTECTED, command.name)
      else t.not(senseCode, SENSE.WRITE_PROTECTED, command.name)
    }
    t.equal(initiator.send(READ).status, 0)
    const harmless: number[] = [
      ACTION.READ,
      ACTION.FLUSH,
      ACTION.VERIFY,
      ACTION.PREFETCH,
      ACTION.FIND_HOLE,
      ACTION.FIND_DATA,
    ]
    t.ok(medium.log.every(([action]) => harmless.includes(action)))
  }
})

t.test('one nexus of a unit can be read-only, and another not', async (t) => {
  const { unit, medium, initiator } = fixture()
  const reader = new Nexus(unit, 0, 1, attentionWord(), true)
  const readInitiator = new Initiator((task) => reader.execute(task), medium)
  t.equal(initiator.send(WRITE, { out: BLOCK }).status, 0)
  t.equal(readInitiator.send(WRITE, { out: BLOCK }).senseCode, SENSE.WRITE_PROTECTED)
  t.equal(readInitiator.send(READ).status, 0)
})

t.test('after a failed flush writes and flushes fail until that is cleared', async (t) => {
  const { initiator, state } = fixture()
  state.set(FLAG.WRITE_FAULT)
  t.equal(initiator.send(WRITE, { out: BLOCK }).senseCode, SENSE.WRITE_ERROR)
  t.equal(initiator.send(FLUSH).senseCode, SENSE.WRITE_ERROR)
  t.equal(initiator.send(READ).status, 0)
  t.equal(initiator.send(TEST_UNIT_READY).status, 0)
  state.clear(FLAG.WRITE_FAULT)
  t.equal(initiator.send(WRITE, { out: BLOCK }).status, 0)
  t.equal(initiator.send(FLUSH).status, 0)
})

t.test('D_SENSE decides the format of sense data', async (t) => {
  const { initiator, state } = fixture()
  state.set(FLAG.DESCRIPTOR_SENSE)
  t.match(initiator.send('ff').sense, /^72 05 20 00 00 00 00 00$/)
  state.clear(FLAG.DESCRIPTOR_SENSE)
  t.match(initiator.send('ff').sense, /^70 00 05/)
})

t.test('a task carries nothing over from the command before', async (t) => {
  const { nexus } = fixture()
  const task = new Task()
  task.dataOutLength = 4096
  task.dataInLength = 4096
  const execute = (cdb: string): Task => {
    task.cdbBytes.fill(0)
    task.cdbBytes.set(bytes(cdb))
    nexus.execute(task)
    return task
  }
  t.match(execute('2a 08 00 00 00 00 00 00 01 00'), { action: ACTION.WRITE, fua: true, direction: DIRECTION.OUT })
  t.match(execute(READ), { action: ACTION.READ, fua: false, direction: DIRECTION.IN, program: null })
  t.match(execute('28 08 00 00 00 00 00 00 01 00'), { action: ACTION.PROGRAM })
  t.match(execute('ff'), { action: ACTION.DONE, status: 2, transferLength: 0, program: null })
  t.match(execute(TEST_UNIT_READY), {
    action: ACTION.DONE,
    status: 0,
    senseLength: 0,
    transferLength: 0,
    dataInCount: 0,
  })
  t.match(execute('28 00 00 00 00 00 00 08 00 00'), { action: ACTION.DONE, overrun: true })
  task.dataOutLength = 511
  t.match(execute('93 08 00*8 00 00 00 08 00 00'), { action: ACTION.DONE, status: 2, overrun: false })
  task.dataOutLength = 4096
  t.match(execute('93 09 00*8 00 00 00 08 00 00'), { action: ACTION.WRITE_ZEROES, mayUnmap: true, overrun: false })
  t.match(execute(WRITE), { action: ACTION.WRITE, mayUnmap: false, overrun: false })
})

t.test('a reservation of another initiator', async (t) => {
  const { initiator, nexus, medium } = fixture()
  const SYNCHRONIZE_CACHE = FLUSH
  const INQUIRY = '12 00 00 00 24 00'
  const conflicting = (access: number): string[] => {
    nexus.attention[NEXUS_WORD.ACCESS] = access
    return [READ, WRITE, SYNCHRONIZE_CACHE, INQUIRY, 'ff'].filter(
      (cdb) => initiator.send(cdb, { out: BLOCK }).status === STATUS.RESERVATION_CONFLICT,
    )
  }
  t.same(conflicting(0), [])
  t.same(conflicting(ACCESS.WRITE_EXCLUSIVE), [WRITE, SYNCHRONIZE_CACHE])
  t.same(conflicting(ACCESS.EXCLUSIVE_ACCESS), [READ, WRITE, SYNCHRONIZE_CACHE])
  t.same(conflicting(ACCESS.RESERVED), [READ, WRITE, SYNCHRONIZE_CACHE])
  medium.log.length = 0
  t.match(initiator.send(WRITE, { out: BLOCK }), { status: 0x18, sense: '', residual: 512, overrun: false })
  t.same(medium.log, [], 'nothing is done')
})

t.test('resets are reported before a reservation conflict, other unit attentions after it', async (t) => {
  const { initiator, nexus } = fixture()
  for (const condition of Object.values(ATTENTION)) {
    nexus.attention[NEXUS_WORD.ACCESS] = ACCESS.EXCLUSIVE_ACCESS
    raise(nexus.attention, condition)
    const isReset = condition <= ATTENTION.NEXUS_LOSS
    t.equal(initiator.send(READ).status, isReset ? STATUS.CHECK_CONDITION : STATUS.RESERVATION_CONFLICT)
    t.equal(initiator.send(READ).status, STATUS.RESERVATION_CONFLICT)
    nexus.attention[NEXUS_WORD.ACCESS] = 0
    t.equal(initiator.send(READ).status, isReset ? STATUS.GOOD : STATUS.CHECK_CONDITION, 'it is still pending')
  }
})
