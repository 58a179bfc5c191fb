/** Does something again and again until it is told to stop; `failed` rejects when that goes wrong. */
export class Repetition {
  count = 0
  readonly #done: Promise<void>
  #stopping = false

  constructor(step: () => Promise<void>) {
    this.#done = this.#run(step)
    this.#done.catch(() => {})
  }

  async #run(step: () => Promise<void>): Promise<void> {
    while (!this.#stopping) {
      await step()
      this.count++
    }
  }

  get failed(): Promise<void> {
    return this.#done
  }

  async stop(): Promise<void> {
    this.#stopping = true
    await this.#done
  }
}
