/** Takes what IOThreads forward to the unit that it is for. */
import type { ForwardedTask } from '../iothreads/index.js'
import type { LunNexus } from './lun.js'

export class ForwardedCommands {
  readonly #find: (controller: string, target: number, lun: number) => LunNexus | undefined
  readonly #failed: (error: unknown) => void

  /** @param find the LUN that a controller has at an address @param failed an error of ours has left commands without an answer */
  constructor(
    find: (controller: string, target: number, lun: number) => LunNexus | undefined,
    failed: (error: unknown) => void,
  ) {
    this.#find = find
    this.#failed = failed
  }

  forwarded(task: ForwardedTask): void {
    this.#nexusOf(task)
      .then((nexus) => nexus.executor.execute(task, nexus))
      .catch(this.#failed)
  }

  recalled(task: ForwardedTask): void {
    this.#nexusOf(task)
      .then((nexus) => nexus.executor.recall(task))
      .catch(this.#failed)
  }

  /** A LUN stays where it is while commands for it are in flight. */
  async #nexusOf({ command: { controller, target, lun } }: ForwardedTask): Promise<LunNexus> {
    const nexus = this.#find(controller, target, lun)
    if (nexus === undefined)
      throw new Error(`a command for controller ${controller}, target ${target}, LUN ${lun}, which is not there`)
    return nexus
  }
}
