/** Runs what IOThreads forward to a logical unit's server: one command after another, each with all of its effects. */
import type { ForwardedTask } from '../iothreads/index.js'
import { type Effect, Task, type UnitNexus, type UnitServer } from '../scsi/index.js'

interface Waiting {
  readonly forwarded: ForwardedTask
  readonly nexus: UnitNexus
}

/** Carries out an effect; resolves with its result: a number >= 0, or -errno. */
export type Perform = (effect: Effect, nexus: UnitNexus) => Promise<number>

export class UnitExecutor {
  readonly server: UnitServer
  readonly #perform: Perform
  #waiting: Waiting[] = []
  #runs = false

  constructor(server: UnitServer, perform: Perform) {
    this.server = server
    this.#perform = perform
  }

  /** Executes a command that came through `nexus`, in its turn. Rejects with an error of ours that leaves commands without an answer. */
  async execute(forwarded: ForwardedTask, nexus: UnitNexus): Promise<void> {
    this.#waiting.push({ forwarded, nexus })
    if (this.#runs) return
    this.#runs = true
    for (let next = this.#waiting.shift(); next !== undefined; next = this.#waiting.shift()) await this.#run(next)
    this.#runs = false
  }

  async #run({ forwarded, nexus }: Waiting): Promise<void> {
    const task = taskOf(forwarded)
    const effects = this.server.execute(task, nexus)
    if (effects !== null) {
      let step = effects.next()
      while (!step.done) step = effects.next(await this.#perform(step.value, nexus))
    }
    task.limit()
    forwarded.conclude(task.result)
  }

  /** Nobody wants the command any more: one that has not begun ends now. */
  recall(forwarded: ForwardedTask): void {
    const recalled = this.#waiting.filter((each) => each.forwarded === forwarded)
    this.#waiting = this.#waiting.filter((each) => each.forwarded !== forwarded)
    // Whatever the answer is: its thread has another one for the initiator.
    for (const each of recalled) each.forwarded.conclude(taskOf(each.forwarded).result)
  }
}

/** The task that stands for the one in the IOThread. */
function taskOf({ command }: ForwardedTask): Task {
  const { cdb, parameters, dataInLength } = command
  const task = new Task(cdb.buffer, cdb.byteOffset)
  task.parameters = parameters
  task.parameterLength = parameters.length
  task.dataOutLength = parameters.length
  task.dataInLength = dataInLength
  return task
}
