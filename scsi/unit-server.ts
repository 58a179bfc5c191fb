import { NEXUS_WORD } from './access.js'
import { OPCODE } from './command.js'
import type { LogicalUnit } from './logical-unit.js'
import { SENSE, type SenseCode } from './sense.js'
import { STATUS } from './status.js'
import type { TargetPort } from './target-port.js'
import type { Task } from './task.js'
import { type Attentive, logicalUnitReset, powerOn } from './task-management.js'
import { CopyResults } from './third-party-copy/copy-results.js'
import { UnitBuffers } from './unit-buffers.js'
import { UnitReservations } from './unit-reservations.js'
import { FLAG, MODE_FLAGS } from './unit-state.js'

/** An I_T_L nexus as the unit's server knows it: what one controller has with the unit. */
export interface UnitNexus extends Attentive {
  /** Stands for the target port, and for the initiator's: a controller has one front end. */
  readonly controller: string
  /** SAS address of the initiator's port: 16 hex digits. */
  readonly initiator: string
  readonly port: TargetPort
  readonly target: number
  readonly lun: number
  readonly readOnly: boolean
  /** All logical units that its initiator reaches through the same controller. */
  reachable(): readonly ReachableUnit[]
}

/** A logical unit that an initiator has, and through what. */
export interface ReachableUnit {
  readonly nexus: UnitNexus
  readonly server: UnitServer
}

/** What a service asks of those who run it; each ends with a number >= 0, or -errno. */
export type Effect =
  /** Ends when every command that was admitted before, under the old state of the unit, has ended; not those forwarded. */
  | { readonly type: 'fence' }
  /** What outlives a restart is kept as it is now: reservations, mode parameters, unit attentions. */
  | { readonly type: 'persist' }
  /** Everything written and acknowledged so far becomes durable. */
  | { readonly type: 'flush' }
  /** Ends all commands of these nexuses with the unit, forwarded ones too, but for the one that asks. Answers how many there were. */
  | { readonly type: 'abort'; readonly nexuses: readonly UnitNexus[] }
  /** Tells drivers that take part in events what unit attention their nexus has now (virtio 1.3 5.6.6.3). */
  | { readonly type: 'announce'; readonly nexuses: readonly UnitNexus[]; readonly attention: SenseCode }
  /**
   * The unit's next command begins; this one goes on beside it. `answer`: and is answered now, with what the task says. `recallable`: it ends
   * when nobody wants it any more; else it only is answered then.
   */
  | { readonly type: 'detach'; readonly answer: boolean; readonly recallable: boolean }
  /** Copies `length` bytes of the media behind two nexuses; `offset`: where to. Answers `length`. */
  | {
      readonly type: 'copy'
      readonly source: UnitNexus
      readonly sourceOffset: number
      readonly destination: UnitNexus
      readonly offset: number
      readonly length: number
    }
  /** Zeroes a range of the unit's medium, by deallocation where that is known to read as zeros. */
  | { readonly type: 'zero'; readonly offset: number; readonly length: number }
  /** Fills a range of it with a pattern. */
  | {
      readonly type: 'fill'
      readonly offset: number
      readonly length: number
      readonly pattern: Uint8Array<ArrayBuffer>
    }

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
  readonly reservations: UnitReservations
  readonly buffers = new UnitBuffers()

  constructor(unit: LogicalUnit, nexuses: ReadonlySet<UnitNexus>) {
    this.unit = unit
    this.nexuses = nexuses
    this.reservations = new UnitReservations(nexuses)
  }

  /** Whether a SANITIZE that fails may be left behind with EXIT FAILURE MODE: its AUSE bit. */
  mayExitFailureMode = false
  readonly #copies = new WeakMap<UnitNexus, CopyResults>()

  /** The results of copies that were asked for through a nexus. */
  copyResults(nexus: UnitNexus): CopyResults {
    let results = this.#copies.get(nexus)
    if (results === undefined) {
      results = new CopyResults()
      this.#copies.set(nexus, results)
    }
    return results
  }

  /** What has become of a copy can be asked for until something else is done that the server has to do (SPC-4 5.17.4.3). */
  #forgetCopies(opcode: number, nexus: UnitNexus): void {
    if (opcode !== OPCODE.THIRD_PARTY_COPY_OUT && opcode !== OPCODE.THIRD_PARTY_COPY_IN)
      this.#copies.get(nexus)?.discardAll()
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
    const command = commands.find(task.cdbBytes)
    const { service, direction } = command
    task.reset()
    task.direction = direction
    task.descriptorSense = (state.flags & FLAG.DESCRIPTOR_SENSE) !== 0
    task.transferLength = task.parameterLength
    // Somebody may have reserved the unit since the command was admitted.
    if (command.conflictsWith(nexus.attention[NEXUS_WORD.ACCESS]!, task.cdbBytes)) {
      task.end(STATUS.RESERVATION_CONFLICT)
      return null
    }
    this.#forgetCopies(command.opcode, nexus)
    if (service !== null) return service(task, this, nexus)
    task.fail(SENSE.INTERNAL_TARGET_FAILURE)
    return null
  }

  /**
   * LOGICAL UNIT RESET (SAM-5 6.3.3), after all tasks were aborted. `nexuses`: those that are to be told.
   *
   * @returns whether what is in the write cache has to be made durable, as there is none any more
   */
  reset(nexuses: Iterable<UnitNexus>): boolean {
    const hadCache = this.#hasCache
    this.reservations.lose()
    for (const nexus of this.nexuses) this.#copies.get(nexus)?.discardAll()
    logicalUnitReset(this.unit.state, nexuses)
    return hadCache && !this.#hasCache
  }

  /**
   * The initiator of a nexus begins anew (SAM-5 6.3.1). Mode parameters have their defaults again unless others go on using the unit.
   *
   * @returns as `reset` does
   */
  begin(nexus: UnitNexus): boolean {
    const hadCache = this.#hasCache
    powerOn([nexus])
    this.reservations.lose(nexus)
    this.#copies.get(nexus)?.discardAll()
    if (this.nexuses.size === 1) this.unit.state.change(MODE_FLAGS, this.unit.state.defaults)
    return hadCache && !this.#hasCache
  }

  get #hasCache(): boolean {
    return (this.unit.state.flags & FLAG.WRITE_CACHE) !== 0
  }
}
