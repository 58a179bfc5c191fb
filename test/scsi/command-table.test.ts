import t from 'tap'
import { Command } from '../../scsi/command.js'
import { CommandTable } from '../../scsi/command-table.js'
import type { Nexus } from '../../scsi/nexus.js'
import { SENSE } from '../../scsi/sense.js'
import { Task } from '../../scsi/task.js'
import { bytes } from './support/hex.js'

const handler = (task: Task): void => task.succeed()
const b = new Command({ name: 'B', usage: 'a3 0d 00', hasServiceAction: true, handler })
const a = new Command({ name: 'A', usage: 'a3 0c 00', hasServiceAction: true, handler })
const c = new Command({ name: 'C', usage: '28 00 00', handler })

t.test('commands by opcode and service action', async (t) => {
  const table = new CommandTable([b, a, c])
  t.same(
    table.commands.map((command) => command.name),
    ['C', 'A', 'B'],
  )
  t.equal(table.entries.length, 256)
  t.equal(table.find(bytes('28 ff')), c)
  t.equal(table.find(bytes('a3 ec')), a)
  t.equal(table.find(bytes('a3 0d')), b)
})

t.test('what is not there is unsupported', async (t) => {
  const table = new CommandTable([a])
  for (const cdb of ['a3 00', 'a3 1f', '00 00', 'ff ff']) {
    const command = table.find(bytes(cdb))
    t.equal(command.supported, false, cdb)
    const task = new Task()
    command.handler(task, null as unknown as Nexus, 0)
    t.equal(task.senseCode, SENSE.INVALID_COMMAND_OPERATION_CODE, cdb)
  }
})
