import { clockMonotonicNs } from 'memfd-mmap'
import { AdaptivePolling } from './adaptive-polling.js'
import { EpollEngine } from './epoll-engine.js'
import type { EngineHandler, EventEngine } from './event-engine.js'
import { BELL, BELL_WORD, type WorkerOptions } from './messages.js'
import type { RequestQueue } from './request-queue.js'
import { JOB_SLOT, SLOT_BITS, SLOT_MASK } from './request-table.js'
import { QUEUE_FIELD } from './statistics.js'
import { THREAD_FIELD, ThreadStatistics } from './thread-statistics.js'
import { UringEngine } from './uring-engine.js'

/** Watch token of the doorbell; a queue's is its slot + 1. */
const DOORBELL = 0

/** No wait is longer, ns: a lost wake-up then costs a second, not a hang. */
const LONGEST_WAIT = 1e9
/** The same while a queue has no kick descriptor: such a driver does not notify, and expects to be polled. */
const LONGEST_WAIT_UNNOTIFIED = 50_000

/** Polling rounds between two looks at the clock and at the kernel. */
const ROUNDS = 16

/** What else an IOThread does besides its queues. */
export interface LoopClient {
  /** The doorbell rang: messages are there. */
  messages(): void
  /** The doorbell rang for the write gates. */
  gatesRang(): void
  /** Before what has ended is shown: begins what the write gates let in. */
  runGates(): void
  /** After each turn: whatever waits for requests to end. */
  settle(): void
  /** Has the drivers end what they held back for long enough. */
  pollDrivers(): void
  /** I/O that is no queue's has ended: that of the job number `slot`. */
  jobCompleted(slot: number, result: number): void
  /** The write gate lets a job pass. */
  jobAdmitted(slot: number): void
  /** When the next request that a driver holds back is due (ns), or Infinity. */
  nextDeadline(): number
}

/**
 * The loop of an IOThread: fetch from all queues, submit, reap, publish; when there is nothing to do, poll for a while,
 * then sleep in the engine.
 */
export class IoLoop implements EngineHandler {
  readonly engine: EventEngine
  /** Why io_uring is not used; null: it is, or was not asked for. */
  readonly engineFault: string | null
  stopped = false
  /** The process exits: I/O may be in flight, so that nothing is to be given back. */
  abandoned = false
  readonly statistics: ThreadStatistics
  readonly #client: LoopClient
  readonly #bell: Int32Array
  /** What is learnt of waits that a queue's next request has ended, and of those that the end of a request has. */
  readonly #fetchPolling: AdaptivePolling
  readonly #completionPolling: AdaptivePolling
  /** Queues by slot; null: free. */
  readonly #slots: (RequestQueue | null)[] = []
  #queues: RequestQueue[] = []
  /** Queues without a kick descriptor. */
  #unnotified = 0
  /** Counts the requests that did not end at once. */
  #completions = 0
  /** How long the wait was that has just ended, ns; negative: there was none. */
  #waited = -1

  constructor(options: WorkerOptions, client: LoopClient) {
    this.#client = client
    this.#bell = new Int32Array(options.bell, options.bellOffset ?? 0, BELL_WORD.COUNT)
    this.statistics = new ThreadStatistics(options.statistics)
    const { pollMaxNs, pollGrow, pollShrink } = options
    this.#fetchPolling = new AdaptivePolling(pollMaxNs, pollGrow, pollShrink)
    this.#completionPolling = new AdaptivePolling(pollMaxNs, pollGrow, pollShrink)
    let engine: EventEngine | null = null
    let fault: string | null = null
    if (options.engine !== 'epoll') {
      try {
        engine = new UringEngine(this)
      } catch (error) {
        if (options.engine === 'io_uring') throw error
        fault = (error as Error).message
      }
    }
    this.engine = engine ?? new EpollEngine(this)
    this.engineFault = fault
    this.engine.watch(options.doorbell, DOORBELL)
  }

  /** A slot for a queue about to be made. */
  freeSlot(): number {
    const free = this.#slots.indexOf(null)
    return free >= 0 ? free : this.#slots.length
  }

  /** @throws SystemError where the kick descriptor cannot be watched */
  add(queue: RequestQueue, kickFd: number): void {
    if (kickFd >= 0) this.engine.watch(kickFd, queue.slot + 1)
    else this.#unnotified++
    this.#slots[queue.slot] = queue
    this.#queues.push(queue)
  }

  /** Ends the watch of a queue that is to go. */
  release(queue: RequestQueue, kickFd: number): void {
    if (kickFd >= 0) this.engine.unwatch(kickFd, queue.slot + 1)
    else this.#unnotified--
  }

  /** Whether nothing of the queue is in the engine any more. */
  released(queue: RequestQueue): boolean {
    return queue.busy === 0 && this.engine.unwatched(queue.slot + 1)
  }

  remove(queue: RequestQueue): void {
    this.#slots[queue.slot] = null
    this.#queues = this.#queues.filter((each) => each !== queue)
  }

  completed(id: number, result: number): void {
    this.#completions = (this.#completions + 1) | 0
    if (id >>> SLOT_BITS === JOB_SLOT) {
      this.#client.jobCompleted(id & SLOT_MASK, result)
      return
    }
    const queue = this.#slots[id >>> SLOT_BITS]!
    queue.execution.completed(queue.table.requests[id & SLOT_MASK]!, result)
  }

  /** A unit's write gate lets a request's operation pass, which had to wait. */
  admitted(id: number): void {
    if (id >>> SLOT_BITS === JOB_SLOT) {
      this.#client.jobAdmitted(id & SLOT_MASK)
      return
    }
    const queue = this.#slots[id >>> SLOT_BITS]!
    queue.execution.admitted(queue.table.requests[id & SLOT_MASK]!)
  }

  readable(token: number): void {
    const queue = token === DOORBELL ? null : this.#slots[token - 1]
    if (queue) queue.statistics.add(QUEUE_FIELD.KICKS)
  }

  run(): void {
    while (!this.stopped) {
      if (!this.#turn()) this.#idle()
    }
  }

  /** One round of everything. False: there was nothing to do. */
  #turn(): boolean {
    const queues = this.#queues
    const engine = this.engine
    const completions = this.#completions
    let work = 0
    for (let i = 0; i < queues.length; i++) work += queues[i]!.drain()
    const fetched = work
    if (fetched > 0) engine.submit()
    work += engine.reap()
    if (Atomics.load(this.#bell, BELL_WORD.BELL) !== BELL.SILENT) {
      const why = Atomics.exchange(this.#bell, BELL_WORD.BELL, BELL.SILENT)
      Atomics.store(this.#bell, BELL_WORD.ANSWERED, Atomics.load(this.#bell, BELL_WORD.ASKED))
      if ((why & BELL.EXIT) !== 0) this.stopped = this.abandoned = true
      else if ((why & BELL.MESSAGES) !== 0) this.#client.messages()
      if ((why & BELL.GATE) !== 0) this.#client.gatesRang()
      work++
    }
    this.#client.pollDrivers()
    this.#client.runGates()
    if (this.#waited >= 0) this.#learn(fetched > 0, this.#completions !== completions)
    for (let i = 0; i < queues.length; i++) queues[i]!.publish()
    this.#client.settle()
    return work > 0
  }

  /**
   * Each source learns from the waits that it ended (as QEMU's handlers do): else a guest that sends its next request at
   * once were never polled for behind a disk that takes longer than the limit. A wait that neither ended teaches both.
   */
  #learn(fetched: boolean, completed: boolean): void {
    const waited = this.#waited
    this.#waited = -1
    if (fetched) this.#fetchPolling.waited(waited)
    if (completed) this.#completionPolling.waited(waited)
    if (fetched || completed) return
    this.#fetchPolling.waitedInVain(waited)
    this.#completionPolling.waitedInVain(waited)
  }

  #idle(): void {
    const polled = this.#poll()
    if (polled < 0) {
      this.statistics.add(THREAD_FIELD.POLL_HITS)
      return
    }
    const queues = this.#queues
    let more = false
    for (let i = 0; i < queues.length; i++) {
      if (queues[i]!.arm()) more = true
    }
    if (!more && Atomics.load(this.#bell, BELL_WORD.BELL) === BELL.SILENT) {
      const now = clockMonotonicNs()
      const longest = this.#unnotified > 0 ? LONGEST_WAIT_UNNOTIFIED : LONGEST_WAIT
      const wait = Math.min(longest, this.#client.nextDeadline() - now)
      if (wait > 0) {
        this.statistics.add(THREAD_FIELD.SLEEPS)
        this.engine.wait(wait)
      }
      this.#waited = clockMonotonicNs() - now + polled
    }
    for (let i = 0; i < queues.length; i++) queues[i]!.virtqueue.disableNotifications()
  }

  /** Polls for as long as that seems worth while. Negative: there is work; else the time it took, ns. */
  #poll(): number {
    const time = Math.max(this.#fetchPolling.time, this.#completionPolling.time)
    const queues = this.#queues
    if (time === 0 || queues.length === 0) return 0
    this.statistics.add(THREAD_FIELD.POLLS)
    const start = clockMonotonicNs()
    for (;;) {
      for (let round = 0; round < ROUNDS; round++) {
        for (let i = 0; i < queues.length; i++) {
          if (queues[i]!.hasWork()) return -1
        }
        if (Atomics.load(this.#bell, BELL_WORD.BELL) !== BELL.SILENT) return -1
      }
      this.engine.submit()
      if (this.engine.ready()) return -1
      const now = clockMonotonicNs()
      if (this.#client.nextDeadline() <= now) return -1
      if (now - start >= time) return now - start
    }
  }
}
