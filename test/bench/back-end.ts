import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Child } from '../support/child.js'
import type { Teardown } from '../support/teardown.js'
import { GC_TRACE_ARG, GcTrace } from './gc-trace.js'
import type { Case, Lun, Poll } from './row.js'

const MAIN = fileURLToPath(new URL('../../daemon/main.js', import.meta.url))
const START = 20_000
const STOP = 20_000

/** poll-max-ns of each way to poll: practically for ever, the default, not at all. */
const POLL_MAX_NS: Readonly<Record<Poll, string>> = {
  busy: ',poll-max-ns=1000000000,poll-shrink=0',
  adaptive: '',
  off: ',poll-max-ns=0',
}

const lunOption = (lun: Lun, image: string, bytes: number): string =>
  ({
    null: `driver=null,size=${bytes}`,
    'null-delay80': `driver=null,size=${bytes},delay-us=80`,
    memory: `driver=memory,size=${bytes}`,
    file: `path=${image}`,
  })[lun]

/** The real daemon with one LUN, as a process of its own on `cpus`. */
export class BackEnd {
  readonly socketPath: string
  readonly child: Child
  readonly collections: GcTrace

  constructor(
    t: Teardown,
    c: Case,
    o: {
      dir: string
      image: string
      bytes: number
      cpus: readonly number[] | null
      nodeArgs?: readonly string[]
      control?: string
    },
  ) {
    this.socketPath = join(o.dir, 'bench.sock')
    const args = [MAIN, `--socket-path=${this.socketPath}`, `--lun=${lunOption(c.lun, o.image, o.bytes)}`]
    for (let i = 0; i < c.iothreads; i++) args.push(`--iothread=id=io${i}${POLL_MAX_NS[c.poll]}`)
    if (o.control !== undefined) args.push(`--control-socket=${o.control}`)
    const node = [process.execPath, GC_TRACE_ARG, ...(o.nodeArgs ?? []), ...args]
    this.child =
      o.cpus === null
        ? new Child(t, 'vhost-user-scsid', node[0]!, node.slice(1))
        : new Child(t, 'vhost-user-scsid', 'taskset', ['--cpu-list', o.cpus.join(), ...node])
    this.collections = new GcTrace(this.child.process.stdout!)
  }

  /** Waits for the line that names the socket. */
  async listening(): Promise<void> {
    await this.child.output('stdout', new RegExp(`^.*${this.socketPath}.*$`, 'm'), START)
  }

  async stop(): Promise<void> {
    this.child.process.kill('SIGTERM')
    const exit = await this.child.ended(STOP)
    if (exit.code !== 0) throw new Error(`the daemon ended with ${exit.code ?? exit.signal}\n${this.child.report()}`)
  }
}
