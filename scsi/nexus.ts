import { NEXUS_WORD } from './access.js'
import { type Command, NEED, OPCODE, SERVICE_ACTION_MASK } from './command.js'
import type { LogicalUnit } from './logical-unit.js'
import { SENSE } from './sense.js'
import { STATUS } from './status.js'
import type { Target } from './target.js'
import type { Task } from './task.js'
import { RESETS, take } from './unit-attention.js'
import { FLAG, UNUSUAL, WIPED } from './unit-state.js'
import { wipedSense } from './wiped.js'

/**
 * An I_T_L nexus (SAM-5 4.9): what one controller (the initiator's only port to us) has with one logical unit.
 */
export class Nexus {
  readonly unit: LogicalUnit
  /** Target id and LUN under which the initiator sees the unit. */
  readonly target: number
  readonly lun: number
  /** The words of NEXUS_WORD in shared memory: pending unit attentions (see ATTENTION), reservations of others (ACCESS). */
  readonly attention: Int32Array
  readonly readOnly: boolean
  /** The target that this nexus was added to. */
  owner: Target | null = null
  readonly #entries: Command[]
  readonly #words: Int32Array
  readonly #ownFlags: number

  constructor(unit: LogicalUnit, target: number, lun: number, attention: Int32Array, readOnly: boolean) {
    this.unit = unit
    this.target = target
    this.lun = lun
    this.attention = attention
    this.readOnly = readOnly || unit.config.readOnly
    this.#entries = unit.commands.entries
    this.#words = unit.state.words
    this.#ownFlags = this.readOnly ? FLAG.READ_ONLY : 0
  }

  /**
   * Takes the command in `task`: afterwards it is DONE, or says what block operation to run. Never throws on what an
   * initiator sends.
   */
  execute(task: Task): void {
    task.reset()
    let command = this.#entries[task.cdbBytes[0]!]!
    if (command.actions !== null) command = command.actions[task.cdbBytes[1]! & SERVICE_ACTION_MASK]!
    task.direction = command.direction
    const flags = this.#words[0]! | this.#ownFlags
    task.descriptorSense = (flags & FLAG.DESCRIPTOR_SENSE) !== 0
    // Plain loads of these words: each is read whole, and take() settles who reports an attention.
    const words = this.attention
    const special = (flags & UNUSUAL) | words[NEXUS_WORD.ATTENTION]! | words[NEXUS_WORD.ACCESS]!
    if (special !== 0 && !this.#admit(task, command, flags)) return
    if (command.hasRefusedBits(task.cdb)) command.refuse(task)
    else command.handler(task, this, flags)
    task.limit()
  }

  /** What may keep a command from being taken, in the order in which it is reported. False: the task has ended. */
  #admit(task: Task, command: Command, flags: number): boolean {
    const needs = command.needs
    // Before other unit attentions (SAM-5 5.3.3).
    if (
      (this.attention[NEXUS_WORD.ATTENTION]! & RESETS) === 0 &&
      command.conflictsWith(this.attention[NEXUS_WORD.ACCESS]!, task.cdbBytes)
    ) {
      task.end(STATUS.RESERVATION_CONFLICT)
      return false
    }
    if ((needs & NEED.IGNORES_ATTENTION) === 0) {
      const attention = take(this.attention)
      if (attention !== 0) return refuse(task, attention)
      if ((flags & WIPED) !== 0 && !this.#admitWiped(task, command, flags)) return false
    }
    if ((needs & NEED.MEDIUM) !== 0) {
      if ((flags & FLAG.EJECTED) !== 0) return refuse(task, SENSE.MEDIUM_NOT_PRESENT)
      if ((flags & FLAG.NOT_READY) !== 0) return refuse(task, SENSE.LOGICAL_UNIT_NOT_READY)
    }
    if ((needs & NEED.WRITES) !== 0 && (flags & FLAG.READ_ONLY) !== 0) return refuse(task, SENSE.WRITE_PROTECTED)
    if ((needs & NEED.WRITES) !== 0 && (flags & FLAG.SOFTWARE_WRITE_PROTECT) !== 0) {
      return refuse(task, SENSE.SOFTWARE_WRITE_PROTECTED)
    }
    if ((needs & NEED.DURABLE) !== 0 && (flags & FLAG.WRITE_FAULT) !== 0) return refuse(task, SENSE.WRITE_ERROR)
    return true
  }

  /** The same while the medium is written all over, or after that has failed: what puts it right is taken (SBC-3 4.11.3, 4.32). */
  #admitWiped(task: Task, command: Command, flags: number): boolean {
    if ((flags & (FLAG.SANITIZING | FLAG.FORMATTING)) !== 0) {
      task.failWithProgress(wipedSense(flags), this.unit.state.progress)
      return false
    }
    if ((flags & FLAG.SANITIZE_FAILED) !== 0)
      return command.opcode === OPCODE.SANITIZE || refuse(task, wipedSense(flags))
    return (
      (command.needs & NEED.MEDIUM) === 0 || command.opcode === OPCODE.FORMAT_UNIT || refuse(task, wipedSense(flags))
    )
  }
}

function refuse(task: Task, sense: number): false {
  task.fail(sense)
  return false
}
