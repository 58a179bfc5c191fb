/** The IOThreads of the daemon: those of its configuration, and those that come and go at run time. */
import { IoThread, type IoThreadEvents, type ThreadStatistics } from '../iothreads/index.js'
import type { IothreadConfig } from './daemon-config.js'
import { errorCode, errorReason, StartError } from './errors.js'
import { type Heartbeat, Heartbeats } from './heartbeats.js'
import type { Log } from './log.js'

/** Who asked for an IOThread. */
export type IothreadOrigin = 'configuration' | 'control'

/** An IOThread that runs. */
export interface PooledIothread {
  readonly id: string
  /** Kernel thread id. */
  readonly tid: number
  /** 'io_uring' or 'epoll'. */
  readonly engine: string
  readonly config: IothreadConfig
  readonly origin: IothreadOrigin
  readonly statistics: ThreadStatistics
  readonly heartbeat: Heartbeat
}

/** What a new IOThread shall be like. Without an id it gets the first of io0, io1, ... that is free. */
export type NewIothread = Omit<IothreadConfig, 'id'> & { readonly id?: string }

/** A change of the pool that cannot be. */
export class IothreadPoolError extends Error {
  /** EEXIST: the id is taken; ENODEV: there is no such IOThread; ESHUTDOWN: the daemon is stopping; else the system's. */
  readonly code: string

  constructor(code: string, message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'IothreadPoolError'
    this.code = code
  }
}

interface Member {
  readonly thread: IoThread
  readonly config: IothreadConfig
  readonly origin: IothreadOrigin
}

export class IothreadPool {
  readonly #events: IoThreadEvents
  readonly #log: Log
  readonly #heartbeats: Heartbeats
  readonly #members = new Map<string, Member>()
  /** Names of IOThreads that are being started. */
  readonly #starting = new Set<string>()
  /** Starts and ends that are under way. */
  readonly #changes = new Set<Promise<void>>()
  #stopped = false

  /** @param events of each IOThread; `failed` is not called for one whose start failed */
  constructor(events: IoThreadEvents, log: Log, heartbeats: Heartbeats = new Heartbeats(log)) {
    this.#events = events
    this.#log = log
    this.#heartbeats = heartbeats
    heartbeats.start()
  }

  /** Starts the IOThreads of the configuration, in order. @throws StartError; those started before it run on */
  async start(configs: readonly IothreadConfig[]): Promise<void> {
    for (const config of configs) {
      try {
        await this.#start(config, 'configuration')
      } catch (error) {
        throw new StartError(errorCode(error), startFault(config, error), { cause: error })
      }
    }
  }

  get(id: string): IoThread | undefined {
    return this.#members.get(id)?.thread
  }

  /** Those that run, in the order of their starts. */
  list(): PooledIothread[] {
    return [...this.#members.values()].map(({ thread, config, origin }) => {
      const { id, tid, engine, statistics } = thread
      return { id, tid, engine, config, origin, statistics, heartbeat: this.#heartbeats.of(thread)! }
    })
  }

  /** The ids of those whose loops stand still, among them such as shall end. */
  silent(): string[] {
    return this.#heartbeats.silent()
  }

  /**
   * Starts one more (vhost's NEW_WORKER); resolves with its id when it runs.
   *
   * @throws IothreadPoolError EEXIST if the id is taken, ESHUTDOWN after `stop`, or why it cannot be started
   */
  async add(wanted: NewIothread): Promise<string> {
    const id = wanted.id ?? this.#freeId()
    const config: IothreadConfig = { ...wanted, id }
    if (this.#isTaken(id)) throw new IothreadPoolError('EEXIST', `iothread "${id}" exists already`)
    if (this.#stopped) throw new IothreadPoolError('ESHUTDOWN', 'the daemon is stopping')
    try {
      await this.#start(config, 'control')
    } catch (error) {
      throw new IothreadPoolError(errorCode(error), startFault(config, error), { cause: error })
    }
    return id
  }

  /**
   * Ends one (vhost's FREE_WORKER, whose EBUSY is the caller's business); resolves when the thread has ended. No controller may be
   * attached to it.
   *
   * @throws IothreadPoolError ENODEV if there is none of that id
   */
  async remove(id: string): Promise<void> {
    const member = this.#members.get(id)
    if (member === undefined) throw new IothreadPoolError('ENODEV', `iothread "${id}" does not exist`)
    this.#members.delete(id)
    await this.#during(member.thread.stop())
    this.#heartbeats.forget(member.thread)
    this.#log.debug({ iothread: id, tid: member.thread.tid }, 'IOThread ended')
  }

  /** Ends all of them, which must have no queues, also those that are being started; resolves when they have ended. */
  async stop(): Promise<void> {
    this.#stopped = true
    this.#heartbeats.stop()
    while (this.#changes.size > 0) await Promise.allSettled(this.#changes)
    const threads = [...this.#members.values()].map(({ thread }) => thread)
    this.#members.clear()
    await Promise.all(threads.map((thread) => thread.stop()))
    for (const thread of threads) this.#heartbeats.forget(thread)
  }

  async #start(config: IothreadConfig, origin: IothreadOrigin): Promise<void> {
    this.#starting.add(config.id)
    await this.#during(
      IoThread.start(config, this.#events)
        .then((thread) => {
          this.#members.set(config.id, { thread, config, origin })
          this.#heartbeats.watch(thread)
          this.#told(thread)
        })
        .finally(() => this.#starting.delete(config.id)),
    )
  }

  #told({ id, tid, engine, engineFault }: IoThread): void {
    if (engineFault !== null)
      this.#log.warn(
        { iothread: id },
        `io_uring is not to be had (${engineFault}): plain system calls instead, one at a time`,
      )
    this.#log.debug({ iothread: id, tid, engine }, 'IOThread started')
  }

  /** Has `stop` wait for a change. */
  async #during(change: Promise<void>): Promise<void> {
    this.#changes.add(change)
    try {
      await change
    } finally {
      this.#changes.delete(change)
    }
  }

  #isTaken(id: string): boolean {
    return this.#members.has(id) || this.#starting.has(id)
  }

  #freeId(): string {
    let number = 0
    while (this.#isTaken(`io${number}`)) number++
    return `io${number}`
  }
}

/** Why an IOThread could not be started, for people. */
function startFault({ id, cpus }: IothreadConfig, error: unknown): string {
  const where = cpus === undefined ? '' : ` on CPUs ${cpus.join(',')}`
  return `iothread "${id}"${where}: cannot be started: ${errorReason(error)}`
}
