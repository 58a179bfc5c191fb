import { CONFLICTS } from './access.js'
import { Command, OPCODE, SERVICE_ACTION_MASK } from './command.js'
import { SENSE } from './sense.js'
import type { Task } from './task.js'

/** Every opcode and service action that is not in a table. */
const UNSUPPORTED = new Command({
  name: 'unsupported',
  usage: '00',
  supported: false,
  conflicts: CONFLICTS.NEVER,
  handler: (task: Task) => task.fail(SENSE.INVALID_COMMAND_OPERATION_CODE),
})

/** Service actions that are not in a table, of opcodes whose every service action the standard tells: a field of the CDB is at fault. */
const UNSUPPORTED_ACTION = new Command({
  name: 'unsupported service action',
  usage: '00',
  supported: false,
  conflicts: CONFLICTS.NEVER,
  handler: (task: Task) => task.failCdbField(1, 4),
})
const CLOSED: ReadonlySet<number> = new Set([
  OPCODE.PERSISTENT_RESERVE_IN,
  OPCODE.PERSISTENT_RESERVE_OUT,
  OPCODE.SANITIZE,
])

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
        group = new Command({ name: 'service actions', usage: '00', handler: UNSUPPORTED.handler })
        const others = CLOSED.has(each.opcode) ? UNSUPPORTED_ACTION : UNSUPPORTED
        group.actions = new Array<Command>(32).fill(others)
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
