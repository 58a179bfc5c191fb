import { eventually } from '../deadline.js'
import type { Initiator } from './initiator.js'

const PATIENCE = 120_000

/** Has an initiator connect anew, at once and until it works, whenever its connection ends: what QEMU calls `reconnect`. */
export class Reconnection {
  /** How often it was connected anew. */
  count = 0
  /** Rejects when nobody is there to connect to for too long. */
  readonly failed: Promise<void>
  #stopped = false

  constructor(initiator: Initiator, socketPath: string) {
    this.failed = this.#run(initiator, socketPath)
    this.failed.catch(() => {})
  }

  /** Resolves when it was connected anew that often. */
  async reached(count: number): Promise<void> {
    await eventually(PATIENCE, `connection ${count}`, () => (this.count >= count ? true : undefined))
  }

  /** Connects no more. */
  stop(): void {
    this.#stopped = true
  }

  async #run(initiator: Initiator, socketPath: string): Promise<void> {
    for (;;) {
      await initiator.frontEnd.closed
      if (this.#stopped) return
      let last: unknown
      const connected = (): Promise<true | undefined> =>
        initiator.reconnect(socketPath).then(
          () => true,
          (error: unknown) => {
            last = error
            return this.#stopped ? true : undefined
          },
        )
      await eventually(PATIENCE, 'a daemon to connect to', connected).catch((error: Error) => {
        throw new Error(`${error.message}; at last: ${last}`, { cause: last })
      })
      this.count++
    }
  }
}
