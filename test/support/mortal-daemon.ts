import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Child, type Exit } from './child.js'
import type { Teardown } from './teardown.js'
import { tempDir } from './temp-dir.js'

const MAIN = fileURLToPath(new URL('../../daemon/main.js', import.meta.url))
const START = 60_000
const STOP = 60_000

/** A vhost-user-scsid that is killed and started again, on the same sockets. */
export class MortalDaemon {
  readonly socketPath: string
  readonly controlPath: string
  readonly #t: Teardown
  readonly #args: readonly string[]
  #child: Child | undefined

  constructor(t: Teardown, args: readonly string[]) {
    const directory = tempDir(t)
    this.socketPath = join(directory, 'scsi.sock')
    this.controlPath = join(directory, 'control.sock')
    this.#t = t
    this.#args = [MAIN, `--socket-path=${this.socketPath}`, `--control-socket=${this.controlPath}`, ...args]
  }

  /** Resolves when it takes connections. `args`: what this one gets beside what each of them gets. */
  async start(args: readonly string[] = []): Promise<void> {
    await this.ready(this.#spawn(args))
  }

  /**
   * Starts one beside the one that runs, with --takeover. Nothing is waited for: the two processes, of which the new one
   * counts as the daemon from now on.
   */
  takeOver(args: readonly string[] = []): { old: Child; fresh: Child } {
    const old = this.#child!
    return { old, fresh: this.#spawn(['--takeover', ...args]) }
  }

  #spawn(args: readonly string[]): Child {
    this.#child = new Child(this.#t, 'vhost-user-scsid', process.execPath, [...this.#args, ...args])
    return this.#child
  }

  /** Resolves when a process takes connections; one that was started with --takeover: when it has taken over. */
  async ready(child: Child): Promise<void> {
    await child.output('stdout', new RegExp(`^.*${this.socketPath}.*$`, 'm'), START)
  }

  /** SIGKILL. Resolves when the process has gone. */
  async kill(): Promise<void> {
    await this.#child!.kill()
  }

  get pid(): number {
    return this.#child!.pid
  }

  /** SIGTERM, and how the process ended. */
  async stop(): Promise<Exit> {
    this.#child!.process.kill('SIGTERM')
    return this.#child!.ended(STOP)
  }

  /** What the last process has said. */
  report(): string {
    return this.#child?.report() ?? ''
  }
}
