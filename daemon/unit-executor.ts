/** Runs what IOThreads forward to a logical unit's server: one command after another, each with all of its effects. */
import type { ForwardedTask } from '../iothreads/index.js'
import { type Effect, type Effects, SENSE, Task, type UnitNexus, type UnitServer } from '../scsi/index.js'

interface Waiting {
  readonly forwarded: ForwardedTask
  readonly nexus: UnitNexus
}

/** A command that takes effects. */
interface Running extends Waiting {
  readonly task: Task
  readonly effects: Effects
}

/** One that goes on beside the next one. */
interface Beside extends Running {
  /** Whether it ends when nobody wants it any more. */
  readonly recallable: boolean
  wanted: boolean
}

type Detach = Extract<Effect, { type: 'detach' }>
/** What has to be done outside of the executor. */
export type PerformedEffect = Exclude<Effect, Detach>

/** Carries out an effect; resolves with its result: a number >= 0, or -errno. */
export type Perform = (effect: PerformedEffect, nexus: UnitNexus) => Promise<number>

export class UnitExecutor {
  readonly server: UnitServer
  readonly #perform: Perform
  readonly #settle: () => Promise<unknown>
  #waiting: Waiting[] = []
  #runs = false
  readonly #beside = new Map<Beside, Promise<void>>()
  /** What nobody wants any more, for a command that is in its turn. */
  readonly #recalled = new WeakSet<ForwardedTask>()
  #closed = false

  /** @param settle what comes between the last effect of a command and its answer */
  constructor(server: UnitServer, perform: Perform, settle: () => Promise<unknown> = async () => {}) {
    this.server = server
    this.#perform = perform
    this.#settle = settle
  }

  /** Executes a command that came through `nexus`, in its turn. Rejects with an error of ours that leaves commands without an answer. */
  async execute(forwarded: ForwardedTask, nexus: UnitNexus): Promise<void> {
    this.#waiting.push({ forwarded, nexus })
    if (this.#runs) return
    this.#runs = true
    for (let next = this.#waiting.shift(); next !== undefined; next = this.#waiting.shift()) await this.#run(next)
    this.#runs = false
    await Promise.all(this.#beside.values())
  }

  /** Ends what goes on beside others, where it is; resolves when nothing does. No command comes any more. */
  async close(): Promise<void> {
    this.#closed = true
    await Promise.all(this.#beside.values())
  }

  /** Resolves when the next command may begin. */
  async #run({ forwarded, nexus }: Waiting): Promise<void> {
    const task = taskOf(forwarded)
    const effects = this.server.execute(task, nexus)
    if (effects !== null) {
      let step = effects.next()
      while (!step.done) {
        const effect = step.value
        if (effect.type === 'detach') {
          this.#detach({ forwarded, nexus, task, effects }, effect)
          return
        }
        step = effects.next(await this.#perform(effect, nexus))
      }
      await this.#settle()
    }
    conclude(forwarded, task)
  }

  #detach(running: Running, { answer, recallable }: Detach): void {
    const wanted = !this.#recalled.has(running.forwarded)
    const answered = answer || !(wanted || recallable)
    const beside = { ...running, recallable, wanted }
    if (answered) conclude(running.forwarded, running.task)
    this.#beside.set(beside, this.#goOn(beside, answered))
  }

  async #goOn(beside: Beside, answered: boolean): Promise<void> {
    const { forwarded, nexus, task, effects } = beside
    let step = effects.next(0)
    while (!step.done) {
      if (step.value.type === 'detach') throw new Error('a command that goes on beside others already')
      const result = await this.#perform(step.value, nexus)
      step = this.#isOver(beside) ? end(task, effects) : effects.next(result)
    }
    this.#beside.delete(beside)
    if (!answered && (beside.wanted || beside.recallable)) conclude(forwarded, task)
  }

  #isOver({ wanted, recallable }: Beside): boolean {
    return this.#closed || (recallable && !wanted)
  }

  /** Nobody wants the command any more: one that has not begun ends now. */
  recall(forwarded: ForwardedTask): void {
    this.#recalled.add(forwarded)
    const recalled = this.#waiting.filter((each) => each.forwarded === forwarded)
    this.#waiting = this.#waiting.filter((each) => each.forwarded !== forwarded)
    // Whatever the answer is: its thread has another one for the initiator.
    for (const each of recalled) each.forwarded.conclude(taskOf(each.forwarded).result)
    for (const beside of this.#beside.keys()) {
      if (beside.forwarded !== forwarded || !beside.wanted) continue
      beside.wanted = false
      if (!beside.recallable) conclude(forwarded, beside.task)
    }
  }
}

/** Ends a command before it is done. It sees to it by itself that others learn of what is half done. */
function end(task: Task, effects: Effects): IteratorResult<Effect, void> {
  task.fail(SENSE.IO_PROCESS_TERMINATED)
  return effects.return()
}

function conclude(forwarded: ForwardedTask, task: Task): void {
  task.limit()
  forwarded.conclude(task.result)
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
