import fc from 'fast-check'
import t from 'tap'
import { DISK_COMMANDS, FULL_DISK_COMMANDS } from '../../scsi/cdb-table.js'
import { Command, gatherable, NEED, PARAMETERS, SCSI_2_LUN } from '../../scsi/command.js'
import { DIRECTION, Task } from '../../scsi/task.js'
import { bytes, hex, normal } from './support/hex.js'

const handler = (task: Task): void => task.succeed()

function taskOf(cdb: Uint8Array): Task {
  const task = new Task()
  task.cdbBytes.set(cdb)
  return task
}

t.test('opcode, service action and length come from the usage data', async (t) => {
  const plain = new Command({ name: 'PLAIN', usage: '28 18 ff ff ff ff 00 ff ff 00', handler })
  t.match(plain, { opcode: 0x28, serviceAction: -1, length: 10, direction: DIRECTION.NONE, needs: 0, supported: true })
  const action = new Command({ name: 'ACTION', usage: '9e 10 00 00', hasServiceAction: true, handler })
  t.match(action, { opcode: 0x9e, serviceAction: 0x10, length: 4 })
})

t.test('a bit without use is refused, and pointed at', async (t) => {
  const command = new Command({ name: 'X', usage: '28 18 ff ff ff ff 00 ff ff 00', handler })
  const task = taskOf(bytes('28 18 ff ff ff ff 00 ff ff 00'))
  t.equal(command.hasRefusedBits(task.cdb), false)
  for (const [byte, value, pointer] of [
    [1, 0x20, 'cd 00 01'],
    [1, 0xe0, 'cf 00 01'],
    [6, 0x1f, 'cc 00 06'],
    [9, 0x04, 'ca 00 09'],
  ] as const) {
    task.cdbBytes.set(bytes('28 00*31'))
    task.cdbBytes[byte] = value
    t.equal(command.hasRefusedBits(task.cdb), true)
    command.refuse(task)
    t.equal(hex(task.sense.subarray(0, task.senseLength)), normal(`70 00 05 00*4 0a 00*4 24 00 00 ${pointer}`))
  }
})

t.test('what lies behind the CDB does not matter', async (t) => {
  const command = new Command({ name: 'X', usage: '00 00 00 00 00 00', handler })
  t.equal(command.hasRefusedBits(taskOf(bytes('00*6 ff*26')).cdb), false)
})

t.test('the service action is no refused bit, and bits can be ignored', async (t) => {
  const action = new Command({ name: 'X', usage: 'a3 0c 00 00', hasServiceAction: true, handler })
  t.equal(action.hasRefusedBits(taskOf(bytes('a3 0c')).cdb), false)
  t.equal(action.hasRefusedBits(taskOf(bytes('a3 2c')).cdb), true)
  const lenient = new Command({ name: 'X', usage: '12 01 00 00', ignored: SCSI_2_LUN, handler })
  t.equal(lenient.hasRefusedBits(taskOf(bytes('12 e1')).cdb), false)
  t.equal(lenient.hasRefusedBits(taskOf(bytes('12 02')).cdb), true)
})

t.test('refused bits agree with a byte by byte look, for every command there is', async () => {
  const commands = [...DISK_COMMANDS.commands, ...FULL_DISK_COMMANDS.commands]
  fc.assert(
    fc.property(
      fc.nat(commands.length - 1),
      fc.uint8Array({ minLength: 32, maxLength: 32 }),
      fc.boolean(),
      (which, cdb, allowed) => {
        const command = commands[which]!
        cdb[0] = command.opcode
        if (command.serviceAction >= 0) cdb[1] = (cdb[1]! & 0xe0) | command.serviceAction
        // Half of the CDBs have allowed bits only: random ones hardly ever have.
        if (allowed) for (let i = 1; i < command.length; i++) cdb[i]! &= command.usage[i]!
        const lenient = ['TEST UNIT READY', 'REQUEST SENSE', 'INQUIRY'].includes(command.name) ? SCSI_2_LUN : 0
        let refused = false
        for (let i = 1; i < command.length; i++) {
          let use = command.usage[i]!
          if (i === 1) use |= lenient
          if ((cdb[i]! & ~use) !== 0) refused = true
        }
        return command.hasRefusedBits(taskOf(cdb).cdb) === refused
      },
    ),
  )
})

t.test('the parameter list length is where the CDB has it', async (t) => {
  const cdb = taskOf(bytes('00 01 02 03 04 05 06 07 08 09')).cdb
  for (const [parameters, length] of [
    [PARAMETERS.NONE, 0],
    [PARAMETERS.BYTE_4, 4],
    [PARAMETERS.WORD_3, 0x0304],
    [PARAMETERS.WORD_7, 0x0708],
    [PARAMETERS.ONE_BLOCK, 4096],
  ] as const) {
    t.equal(new Command({ name: 'X', usage: '00', parameters, handler }).parameterListLength(cdb), length)
  }
})

t.test('no more can be gathered than the buffer has and a task takes', async (t) => {
  const task = new Task()
  for (const [length, buffer, gathered] of [
    [24, 24, 24],
    [24, 10, 10],
    [24, 4096, 24],
    [2 ** 32, 2 ** 40, 65536],
  ] as const) {
    task.dataOutLength = buffer
    t.equal(gatherable(task, length), gathered)
  }
})

t.test('what writes needs a medium, moves data out and waits for the medium', async (t) => {
  for (const command of DISK_COMMANDS.commands) {
    if ((command.needs & NEED.WRITES) === 0) continue
    t.equal(command.needs, NEED.WRITES | NEED.MEDIUM | NEED.DURABLE, command.name)
    t.equal(command.direction, DIRECTION.OUT, command.name)
  }
})
