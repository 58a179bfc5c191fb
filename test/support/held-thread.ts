import { fileURLToPath } from 'node:url'
import { Child } from './child.js'
import type { Teardown } from './teardown.js'

const MAIN = fileURLToPath(new URL('./held-thread-child.js', import.meta.url))
const START = 30_000

/** A thread that another process stops, as a debugger does: the other threads of its process run on. */
export class HeldThread {
  readonly #child: Child

  private constructor(child: Child) {
    this.#child = child
  }

  /** Resolves when thread `tid` stands still. */
  static async hold(t: Teardown, tid: number): Promise<HeldThread> {
    const child = new Child(t, 'the process that holds a thread', process.execPath, [MAIN, String(tid)])
    await child.output('stdout', /^held$/m, START)
    return new HeldThread(child)
  }

  /** Lets it go on. */
  async release(): Promise<void> {
    await this.#child.kill()
  }
}
