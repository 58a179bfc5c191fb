import t from 'tap'
import { DISK_COMMANDS, FULL_DISK_COMMANDS, parameterListLength } from '../../scsi/cdb-table.js'
import { NEED, OPCODE, SERVICE_ACTION } from '../../scsi/command.js'
import { SENSE } from '../../scsi/sense.js'
import { DIRECTION, Task } from '../../scsi/task.js'
import { fixture } from './support/fixture.js'
import { bytes } from './support/hex.js'

/** CDB length by the group code of an opcode (SPC-4 4.2.5.1). */
const LENGTHS = [6, 10, 10, undefined, 16, 12]

t.test('the length of a CDB goes with its opcode', async (t) => {
  for (const command of DISK_COMMANDS.commands) t.equal(command.length, LENGTHS[command.opcode >>> 5], command.name)
})

t.test('no opcode and service action is there twice, and names differ', async (t) => {
  for (const { commands } of [DISK_COMMANDS, FULL_DISK_COMMANDS]) {
    t.equal(new Set(commands.map((each) => each.opcode * 256 + each.serviceAction)).size, commands.length)
    t.equal(new Set(commands.map((each) => each.name)).size, commands.length)
  }
})

t.test('NACA is refused by all of them', async (t) => {
  const { initiator } = fixture()
  for (const command of DISK_COMMANDS.commands) {
    const cdb = new Uint8Array(32)
    cdb[0] = command.opcode
    if (command.serviceAction >= 0) cdb[1] = command.serviceAction
    cdb[command.length - 1] = 0x04
    t.equal(initiator.send(cdb).senseCode, SENSE.INVALID_FIELD_IN_CDB, command.name)
    t.match(initiator.task.sense.subarray(15, 18), [0xca, 0, command.length - 1])
  }
})

t.test('a disk without UNMAP has none, and no UNMAP bit in WRITE SAME', async (t) => {
  const { initiator } = fixture({ discard: false })
  t.equal(
    initiator.send('42 00 00 00 00 00 00 00 18 00', { out: '00*24' }).senseCode,
    SENSE.INVALID_COMMAND_OPERATION_CODE,
  )
  t.equal(initiator.send('41 08 00 00 00 00 00 00 01 00', { out: '00*512' }).senseCode, SENSE.INVALID_FIELD_IN_CDB)
  t.equal(initiator.send('93 08 00*8 00 00 00 01 00 00', { out: '00*512' }).senseCode, SENSE.INVALID_FIELD_IN_CDB)
  t.equal(initiator.send('93 01 00*8 00 00 00 01 00 00').status, 0)
})

t.test('parameterListLength tells the transport what to gather', async (t) => {
  const task = new Task()
  const gathered = (cdb: string, dataOutLength: number): number => {
    task.cdbBytes.fill(0)
    task.cdbBytes.set(bytes(cdb))
    task.dataOutLength = dataOutLength
    return parameterListLength(task)
  }
  t.equal(gathered('42 00 00 00 00 00 00 00 18 00', 4096), 24)
  t.equal(gathered('42 00 00 00 00 00 00 ff ff 00', 100), 100)
  t.equal(gathered('41 00 00 00 00 00 00 00 01 00', 512), 512)
  t.equal(gathered('93 00 00*8 00 00 00 01', 65536), 4096)
  t.equal(gathered('2a 00 00 00 00 00 00 00 08 00', 4096), 0)
  t.equal(gathered('28 00 00 00 00 00 00 00 08 00', 4096), 0)
  t.equal(gathered('ff', 4096), 0)
  t.equal(gathered('a3 0c', 4096), 0)
})

t.test('the commands that initiators must find', async (t) => {
  const has = (opcode: number, action = 0): boolean => DISK_COMMANDS.find(Uint8Array.of(opcode, action)).supported
  const opcodes = new Set(DISK_COMMANDS.commands.map(({ opcode }) => opcode))
  for (const [name, opcode] of Object.entries(OPCODE)) t.ok(opcodes.has(opcode), name)
  const { SERVICE_ACTION_IN_16, MAINTENANCE_IN } = OPCODE
  t.ok(has(SERVICE_ACTION_IN_16, SERVICE_ACTION.READ_CAPACITY_16))
  t.ok(has(MAINTENANCE_IN, SERVICE_ACTION.REPORT_SUPPORTED_OPERATION_CODES))
  t.ok(has(MAINTENANCE_IN, SERVICE_ACTION.REPORT_SUPPORTED_TASK_MANAGEMENT_FUNCTIONS))
})

t.test('only what SAM-5 lets through ignores a unit attention', async (t) => {
  const names = DISK_COMMANDS.commands
    .filter((each) => (each.needs & NEED.IGNORES_ATTENTION) !== 0)
    .map((each) => each.name)
  t.same(names, ['REQUEST SENSE', 'INQUIRY', 'REPORT LUNS'])
  t.ok(DISK_COMMANDS.commands.every((each) => each.timeout > 0))
  t.ok(DISK_COMMANDS.commands.every((each) => each.parameters === 0 || each.direction === DIRECTION.OUT))
})
