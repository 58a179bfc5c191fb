import type { RunResult } from './channel.js'
import type { Guest } from './guest.js'

/**
 * A script that runs in the guest while others do. Its end is told through a FIFO, which is opened by both sides only
 * when both are there.
 */
export class Background {
  readonly #guest: Guest
  readonly #path: string

  private constructor(guest: Guest, path: string) {
    this.#guest = guest
    this.#path = path
  }

  /** @param script run with `set -e` */
  static async start(guest: Guest, script: string): Promise<Background> {
    const path = (await guest.check('mktemp -d /tmp/background-XXXXXX')).trim()
    await guest.check(`
      mkfifo ${path}/end
      cat > ${path}/script << 'END-OF-SCRIPT'
set -e
${script}
END-OF-SCRIPT
      ( status=0
        dash ${path}/script > ${path}/out 2> ${path}/err || status=$?
        echo "$status" > ${path}/end ) &`)
    return new Background(guest, path)
  }

  /** Waits for its end. Nothing else runs in the guest meanwhile but what is in the background. */
  async ended(timeout: number): Promise<RunResult> {
    const status = Number(await this.#guest.check(`cat ${this.#path}/end`, { timeout }))
    const stdout = await this.#guest.check(`cat ${this.#path}/out`)
    const stderr = await this.#guest.check(`cat ${this.#path}/err`)
    await this.#guest.check(`rm -r ${this.#path}`)
    return { status, stdout, stderr }
  }
}
