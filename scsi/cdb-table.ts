import { Command, type CommandDefinition, gatherable, type Handler, NEED, OPCODE as OP } from './command.js'
import { inquiry } from './commands/inquiry.js'
import { read6, read10, read12, read16, write6, write10, write12, write16 } from './commands/read-write.js'
import { testUnitReady } from './commands/unit-ready.js'
import { SENSE } from './sense.js'
import { DIRECTION, type Task } from './task.js'

type Traits = Omit<CommandDefinition, 'opcode' | 'serviceAction' | 'name' | 'usage' | 'handler'>

const ANY_TIME: Traits = { direction: DIRECTION.IN, needs: NEED.IGNORES_ATTENTION }
const MEDIUM: Traits = { needs: NEED.MEDIUM }
const READS: Traits = { direction: DIRECTION.IN, needs: NEED.MEDIUM }
const WRITES: Traits = { direction: DIRECTION.OUT, needs: NEED.MEDIUM | NEED.WRITES | NEED.DURABLE }

function command(opcode: number, name: string, usage: string, traits: Traits, handler: Handler): Command {
  return new Command({ opcode, name, usage, ...traits, handler })
}

/** The commands of a disk. */
function diskCommands(): Command[] {
  return [
    command(OP.TEST_UNIT_READY, 'TEST UNIT READY', '00 00 00 00 00 00', MEDIUM, testUnitReady),
    command(OP.READ_6, 'READ(6)', '08 1f ff ff ff 00', READS, read6),
    command(OP.WRITE_6, 'WRITE(6)', '0a 1f ff ff ff 00', WRITES, write6),
    command(OP.INQUIRY, 'INQUIRY', '12 01 ff ff ff 00', ANY_TIME, inquiry),
    command(OP.READ_10, 'READ(10)', '28 18 ff ff ff ff 00 ff ff 00', READS, read10),
    command(OP.WRITE_10, 'WRITE(10)', '2a 18 ff ff ff ff 00 ff ff 00', WRITES, write10),
    command(OP.READ_16, 'READ(16)', '88 18 ff ff ff ff ff ff ff ff ff ff ff ff 00 00', READS, read16),
    command(OP.WRITE_16, 'WRITE(16)', '8a 18 ff ff ff ff ff ff ff ff ff ff ff ff 00 00', WRITES, write16),
    command(OP.READ_12, 'READ(12)', 'a8 18 ff ff ff ff ff ff ff ff 00 00', READS, read12),
    command(OP.WRITE_12, 'WRITE(12)', 'aa 18 ff ff ff ff ff ff ff ff 00 00', WRITES, write12),
  ]
}

/** Every opcode and service action that is not in a table. */
const UNSUPPORTED = new Command({
  opcode: 0,
  name: 'unsupported',
  usage: '00',
  handler: (task: Task) => task.fail(SENSE.INVALID_COMMAND_OPERATION_CODE),
})

const SERVICE_ACTION_MASK = 0x1f

/** The commands of a device server, by opcode and service action. */
export class CommandTable {
  /** In the order of opcode and service action. */
  readonly commands: readonly Command[]
  /** By opcode, 256 of them; one with `actions` stands for several commands. */
  readonly entries: Command[]

  constructor(commands: readonly Command[]) {
    this.commands = commands.toSorted((a, b) => a.opcode - b.opcode || a.serviceAction - b.serviceAction)
    this.entries = new Array<Command>(256).fill(UNSUPPORTED)
    for (const each of this.commands) {
      if (each.serviceAction < 0) {
        this.entries[each.opcode] = each
        continue
      }
      let group = this.entries[each.opcode]!
      if (group.actions === null) {
        group = new Command({ opcode: each.opcode, name: 'unsupported', usage: '00', handler: UNSUPPORTED.handler })
        group.actions = new Array<Command>(32).fill(UNSUPPORTED)
        this.entries[each.opcode] = group
      }
      group.actions![each.serviceAction] = each
    }
  }

  /** The command that a CDB asks for; one whose handler answers INVALID COMMAND OPERATION CODE if there is none. */
  find(cdb: Uint8Array): Command {
    const entry = this.entries[cdb[0]!]!
    return entry.actions === null ? entry : entry.actions[cdb[1]! & SERVICE_ACTION_MASK]!
  }
}

/** The commands of a disk. */
export const DISK_COMMANDS = new CommandTable(diskCommands())

/**
 * Bytes of data-out that the transport has to gather into `task.parameters` (and count in `task.parameterLength`) before execute(): 0 for most commands, never
 * more than dataOutLength or MAX_PARAMETER_BYTES. Needs the CDB and dataOutLength.
 */
export function parameterListLength(task: Task): number {
  const command = DISK_COMMANDS.find(task.cdbBytes)
  return command.parameters === 0 ? 0 : gatherable(task, command.parameterListLength(task.cdb))
}
