import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import type { Teardown } from './teardown.js'

/** SIGKILL from a thread of its own: at moments that have nothing to do with what this thread sees or does. */
export class Killer {
  readonly #worker = new Worker(new URL('./kill-thread.js', import.meta.url))

  constructor(t: Teardown) {
    this.#worker.unref()
    t.teardown(async () => {
      await this.#worker.terminate()
    })
  }

  /** Kills a child that was not waited for yet, that long from now. Resolves when the signal was sent. */
  async kill(pid: number, milliseconds: number): Promise<void> {
    this.#worker.postMessage({ pid, milliseconds })
    await once(this.#worker, 'message')
  }
}
