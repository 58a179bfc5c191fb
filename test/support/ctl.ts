import { fileURLToPath } from 'node:url'
import { Child } from './child.js'
import type { Teardown } from './teardown.js'

const MAIN = fileURLToPath(new URL('../../daemon/main.js', import.meta.url))
const ANSWER = 60_000

/** How a run of ctl ended. */
export interface CtlResult {
  status: number | null
  stdout: string
  stderr: string
}

/** `vhost-user-scsid ctl` as a person runs it: a process for each command. */
export class Ctl {
  readonly #t: Teardown
  readonly #socketPath: string

  /** @param socketPath the daemon's --control-socket */
  constructor(t: Teardown, socketPath: string) {
    this.#t = t
    this.#socketPath = socketPath
  }

  async run(...args: string[]): Promise<CtlResult> {
    const words = [MAIN, 'ctl', `--control-socket=${this.#socketPath}`, ...args]
    const child = new Child(this.#t, `ctl ${args.join(' ')}`, process.execPath, words)
    const { code } = await child.ended(ANSWER)
    return { status: code, stdout: child.stdout, stderr: child.stderr }
  }

  /** The answer with --json of a command that is expected to succeed. */
  async json<T>(...args: string[]): Promise<T> {
    const { status, stdout, stderr } = await this.run('--json', ...args)
    if (status !== 0) throw new Error(`status ${status} of ctl ${args.join(' ')}: ${stderr}`)
    return JSON.parse(stdout) as T
  }
}
