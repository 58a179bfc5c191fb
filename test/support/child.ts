import { type ChildProcess, type StdioOptions, spawn } from 'node:child_process'
import { once } from 'node:events'
import type { Duplex, Readable } from 'node:stream'
import { reported, within } from './deadline.js'
import type { Teardown } from './teardown.js'

/** How a process ended: one of the two is null. */
export interface Exit {
  code: number | null
  signal: NodeJS.Signals | null
}

const KEPT_OUTPUT = 64 * 1024

/** A child process whose output is kept (the last 64 KiB of it) and which does not outlive the test. */
export class Child {
  readonly name: string
  readonly process: ChildProcess
  /** Resolves when the process has ended and its pipes are closed. Rejects when it could not be started. */
  readonly exit: Promise<Exit>
  #stdout = ''
  #stderr = ''

  /**
   * `pipes` further descriptors, from 3 on, are connected socket pairs, see pipe(); or they are the given ones. The kernel kills the process when
   * this one dies, so that nothing is left behind by a test that was itself killed.
   */
  constructor(
    t: Teardown,
    name: string,
    command: string,
    args: readonly string[],
    pipes: number | readonly number[] = 0,
  ) {
    this.name = name
    const further = typeof pipes === 'number' ? Array.from({ length: pipes }, () => 'pipe' as const) : pipes
    const stdio: StdioOptions = ['ignore', 'pipe', 'pipe', ...further]
    this.process = spawn('setpriv', ['--pdeathsig=KILL', '--', command, ...args], { stdio })
    this.exit = once(this.process, 'close').then(([code, signal]) => ({ code, signal }) as Exit)
    this.exit.catch(() => {})
    this.process.stdout?.setEncoding('utf8').on('data', (text: string) => {
      this.#stdout = (this.#stdout + text.replaceAll('\r', '')).slice(-KEPT_OUTPUT)
    })
    this.process.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#stderr = (this.#stderr + text).slice(-KEPT_OUTPUT)
    })
    t.teardown(() => this.kill())
  }

  get pid(): number {
    const { pid } = this.process
    if (pid === undefined) throw new Error(`${this.name} was not started`)
    return pid
  }

  get stdout(): string {
    return this.#stdout
  }

  get stderr(): string {
    return this.#stderr
  }

  get running(): boolean {
    return this.process.exitCode === null && this.process.signalCode === null
  }

  /** The socket that the process has as descriptor `fd` (3 or more). */
  pipe(fd: number): Duplex {
    return this.process.stdio[fd] as Duplex
  }

  /** The stream that `pattern` is looked for in, as far as it was kept: resolves with the match. */
  async output(stream: 'stdout' | 'stderr', pattern: RegExp, milliseconds: number): Promise<RegExpExecArray> {
    const source = this.process[stream] as Readable
    const found = new Promise<RegExpExecArray>((resolve, reject) => {
      const look = (): void => {
        const match = pattern.exec(this[stream])
        if (match === null) return
        source.off('data', look)
        resolve(match)
      }
      source.on('data', look)
      look()
      const ended = (): void => reject(new Error(`${this.name} ended`))
      this.exit.then(ended, ended)
    })
    const what = `${pattern} on the ${stream} of ${this.name}`
    return reported(within(milliseconds, what, found), () => this.report())
  }

  /** Waits for the end of the process. */
  ended(milliseconds: number): Promise<Exit> {
    return reported(within(milliseconds, `end of ${this.name}`, this.exit), () => this.report())
  }

  /** SIGKILL unless it has ended, and the wait for the end. Never rejects on account of how the process ended. */
  async kill(): Promise<void> {
    if (this.running) this.process.kill('SIGKILL')
    await this.exit.catch(() => {})
  }

  /** What the process has said, for the message of a failed test. */
  report(): string {
    const part = (title: string, text: string): string => (text === '' ? '' : `--- ${this.name} ${title}\n${text}\n`)
    return part('stdout', this.#stdout.slice(-4096)) + part('stderr', this.#stderr.slice(-8192))
  }
}
