import { Worker } from 'node:worker_threads'
import { signalEventfd } from 'memfd-mmap'
import type { TaskAnswer } from '../scsi/index.js'
import { type Doorbell, DoorbellRows, Doorbells } from './doorbells.js'
import {
  BELL,
  BELL_WORD,
  type Command,
  type CommandMessage,
  type ForwardedCommand,
  type ForwardedName,
  type Report,
  type WorkerData,
  type WorkerOptions,
} from './messages.js'
import { threadName } from './thread-name.js'
import { ThreadStatistics } from './thread-statistics.js'

export interface IoThreadOptions {
  readonly id: string
  /** CPUs it may run on; absent: any. */
  readonly cpus?: readonly number[]
  readonly pollMaxNs?: number
  readonly pollGrow?: number
  readonly pollShrink?: number
  readonly engine?: WorkerOptions['engine']
}

/** A fault that a guest caused in a ring or a request. */
export type RingFault = Omit<Extract<Report, { type: 'fault' }>, 'type'>

/** A flush that failed. */
export type MediumFault = Omit<Extract<Report, { type: 'mediumFault' }>, 'type'>

/** A command that an IOThread leaves to the main thread. */
export interface ForwardedTask {
  readonly command: ForwardedCommand
  /** Answers it, once. */
  conclude(answer: TaskAnswer): void
}

export interface IoThreadEvents {
  /** A command is forwarded; it is to be concluded. */
  forwarded(task: ForwardedTask): void
  /** A forwarded command is not wanted any more; it is to be concluded nevertheless, early if that can be. */
  recalled(task: ForwardedTask): void
  fault(fault: RingFault): void
  mediumFault(fault: MediumFault): void
  /** The thread has died of an error of ours. */
  failed(error: Error): void
}

interface Pending {
  resolve(value: number): void
  reject(error: Error): void
}

/** Longest polling time before sleeping, ns (QEMU's default for an IOThread). */
export const DEFAULT_POLL_MAX_NS = 32768

/** By which all threads wake one another. */
export const doorbellRows = new DoorbellRows()

/** Threads that have not ended. The exit of the process joins them one by one, and they may be asleep in the kernel. */
const live = new Set<IoThread>()
process.on('exit', () => {
  for (const thread of live) thread.poke(BELL.EXIT)
})

/** The main thread's handle of an IOThread. */
export class IoThread {
  readonly id: string
  /** Kernel thread id. */
  tid = 0
  /** 'io_uring' or 'epoll'. */
  engine = ''
  /** Why it is not io_uring, if that was tried. */
  engineFault: string | null = null
  readonly statistics = new ThreadStatistics()
  readonly #worker: Worker
  readonly #doorbell: Doorbell
  readonly #bell: Int32Array
  readonly #events: IoThreadEvents
  readonly #pending = new Map<number, Pending>()
  /** Forwarded commands that are not concluded, by what the thread calls them. */
  readonly #forwarded = new Map<string, ForwardedTask>()
  #nextId = 1
  #failure: Error | null = null
  readonly #exited: Promise<void>

  /** Starts a thread; resolves when its loop runs. */
  static async start(options: IoThreadOptions, events: IoThreadEvents): Promise<IoThread> {
    const thread = new IoThread(options, events)
    try {
      await thread.#ready
    } catch (error) {
      await thread.#exited
      throw error
    }
    return thread
  }

  readonly #ready: Promise<void>

  private constructor(options: IoThreadOptions, events: IoThreadEvents) {
    this.id = options.id
    this.#events = events
    this.#doorbell = doorbellRows.open()
    const { row, fd } = this.#doorbell
    this.#bell = doorbellRows.doorbells.words(row)
    const workerData: WorkerData = {
      name: threadName(options.id),
      cpus: options.cpus ?? null,
      pollMaxNs: options.pollMaxNs ?? DEFAULT_POLL_MAX_NS,
      pollGrow: options.pollGrow ?? 0,
      pollShrink: options.pollShrink ?? 0,
      engine: options.engine ?? 'auto',
      doorbell: fd,
      bell: doorbellRows.doorbells.memory,
      bellOffset: Doorbells.offset(row),
      row,
      statistics: this.statistics.memory,
    }
    const url = new URL('./worker.js', import.meta.url)
    // Without the options of the process: what is preloaded there has no place in a loop that never yields.
    this.#worker = new Worker(url, { workerData, name: options.id, execArgv: [] })
    live.add(this)
    this.#exited = new Promise((resolve) => {
      this.#worker.once('exit', () => {
        live.delete(this)
        doorbellRows.close(this.#doorbell)
        this.#fail(this.#failure ?? new Error(`IOThread ${this.id} has ended`))
        resolve()
      })
    })
    this.#ready = new Promise((resolve, reject) => {
      this.#pending.set(0, { resolve: () => resolve(), reject })
    })
    this.#worker.on('message', (report: Report) => this.#received(report))
    this.#worker.on('error', (error) => {
      this.#failure = error
      const starting = this.#pending.has(0)
      this.#fail(error)
      if (!starting) this.#events.failed(error)
    })
  }

  #received(report: Report): void {
    if (report.type === 'ready') {
      this.tid = report.tid
      this.engine = report.engine
      this.engineFault = report.engineFault
      this.#settle(0)?.resolve(0)
    } else if (report.type === 'fault') {
      this.#events.fault(report)
    } else if (report.type === 'mediumFault') {
      this.#events.mediumFault(report)
    } else if (report.type === 'forward') {
      this.#forward(report)
    } else if (report.type === 'recall') {
      const task = this.#forwarded.get(nameOf(report))
      if (task !== undefined) this.#events.recalled(task)
    } else if (report.type === 'reply') {
      this.#settle(report.id)?.resolve(report.value)
    } else {
      this.#settle(report.id)?.reject(new Error(`IOThread ${this.id}: ${report.message}`))
    }
  }

  #forward(command: ForwardedCommand): void {
    const name = nameOf(command)
    const task: ForwardedTask = {
      command,
      conclude: (answer) => {
        if (!this.#forwarded.delete(name)) return
        const { controller, ticket } = command
        // A thread that has ended has nobody who waits for the answer.
        this.send({ type: 'conclude', controller, ticket, answer }).catch(() => {})
      },
    }
    this.#forwarded.set(name, task)
    this.#events.forwarded(task)
  }

  #settle(id: number): Pending | undefined {
    const pending = this.#pending.get(id)
    this.#pending.delete(id)
    return pending
  }

  #fail(error: Error): void {
    for (const { reject } of this.#pending.values()) reject(error)
    this.#pending.clear()
  }

  /** Has the thread carry out a command; resolves with its answer (see Command). Commands are carried out in order. */
  send(command: Command): Promise<number> {
    if (!live.has(this)) return Promise.reject(this.#failure ?? new Error(`IOThread ${this.id} has ended`))
    const id = this.#nextId++
    const message: CommandMessage = { ...command, id }
    const reply = new Promise<number>((resolve, reject) => this.#pending.set(id, { resolve, reject }))
    this.#worker.postMessage(message)
    this.poke()
    return reply
  }

  /** Has the thread look for messages, or leave. */
  poke(why: number = BELL.MESSAGES): void {
    Atomics.or(this.#bell, BELL_WORD.BELL, why)
    signalEventfd(this.#doorbell.fd)
  }

  /** Asks the loop for a sign of life: `answered` once it has seen the bell. A thread that has ended is not asked. */
  ask(): void {
    if (!live.has(this)) return
    Atomics.add(this.#bell, BELL_WORD.ASKED, 1)
    this.poke()
  }

  /** Whether the loop has seen the bell since it was last asked. */
  get answered(): boolean {
    return Atomics.load(this.#bell, BELL_WORD.ANSWERED) === Atomics.load(this.#bell, BELL_WORD.ASKED)
  }

  /** Ends the thread, which must have no queues; resolves when it has ended. */
  async stop(): Promise<void> {
    if (live.has(this)) await this.send({ type: 'stop' }).catch(() => {})
    await this.#exited
  }
}

function nameOf({ controller, ticket }: Pick<ForwardedName, 'controller' | 'ticket'>): string {
  return `${ticket} ${controller}`
}
