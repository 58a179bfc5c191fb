import type { LogicalUnit } from './logical-unit.js'
import { SENSE, type SenseCode } from './sense.js'
import type { Task } from './task.js'
import { type Attentive, logicalUnitReset } from './task-management.js'
import { FLAG } from './unit-state.js'

/** An I_T_L nexus as the unit's server knows it: what one controller has with the unit. */
export interface UnitNexus extends Attentive {
  /** Names the target port, and with it the initiator: a controller has one front end. */
  readonly controller: string
  readonly target: number
  readonly lun: number
  readonly readOnly: boolean
}

/** What a service asks of those who run it; each ends with a number >= 0, or -errno. */
export type Effect =
  /** Ends when every command that was admitted before, under the old state of the unit, has ended; not those forwarded. */
  | { readonly type: 'fence' }
  /** Everything written and acknowledged so far becomes durable. */
  | { readonly type: 'flush' }
  /** Ends all commands of these nexuses with the unit, forwarded ones too, but for the one that asks. Answers how many there were. */
  | { readonly type: 'abort'; readonly nexuses: readonly UnitNexus[] }
  /** Tells drivers that take part in events what unit attention their nexus has now (virtio 1.3 5.6.6.3). */
  | { readonly type: 'announce'; readonly nexuses: readonly UnitNexus[]; readonly attention: SenseCode }

/** A command that is not done at once: yields an effect, is resumed with its result. */
export type Effects = Generator<Effect, void, number>

/**
 * Executes a command in the unit's server: ends the task (it is GOOD unless it is failed), at once or with the last effect. What shared memory
 * has, such as the unit's state and unit attentions, it changes by itself.
 *
 * @param nexus through which the command came
 */
export type Service = (task: Task, server: UnitServer, nexus: UnitNexus) => Effects | null

/**
 * What all nexuses of a logical unit share beyond the words of its state. It lives in one thread, and executes commands that are forwarded to
 * it (ACTION.FORWARD) one after another, each with all of its effects. Knows no medium and no threads.
 */
export class UnitServer {
  readonly unit: LogicalUnit
  /** As they are now: they come and go. */
  readonly nexuses: ReadonlySet<UnitNexus>

  constructor(unit: LogicalUnit, nexuses: ReadonlySet<UnitNexus>) {
    this.unit = unit
    this.nexuses = nexuses
  }

  /** All but one. */
  others(nexus: UnitNexus): UnitNexus[] {
    return [...this.nexuses].filter((each) => each !== nexus)
  }

  /**
   * Executes the command in `task`, whose CDB its handler has checked; `parameters` are as long as that wants them.
   *
   * @returns null: the task is done; else what it still takes, at the end of which it is done
   */
  execute(task: Task, nexus: UnitNexus): Effects | null {
    const { commands, state } = this.unit
    const { service, direction } = commands.find(task.cdbBytes)
    task.reset()
    task.direction = direction
    task.descriptorSense = (state.flags & FLAG.DESCRIPTOR_SENSE) !== 0
    task.transferLength = task.parameterLength
    if (service !== null) return service(task, this, nexus)
    task.fail(SENSE.INTERNAL_TARGET_FAILURE)
    return null
  }

  /** LOGICAL UNIT RESET (SAM-5 6.3.3), after all tasks were aborted. `nexuses`: those that are to be told. */
  reset(nexuses: Iterable<UnitNexus>): void {
    logicalUnitReset(this.unit.state, nexuses)
  }
}
