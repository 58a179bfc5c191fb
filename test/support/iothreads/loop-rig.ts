import { clockMonotonicNs, createEventfd, raw, signalEventfd } from 'memfd-mmap'
import type { DelayLine } from '../../../iothreads/delay-line.js'
import { IoLoop, type LoopClient } from '../../../iothreads/io-loop.js'
import { BELL, BELL_WORD, type WorkerOptions } from '../../../iothreads/messages.js'
import { ThreadStatistics } from '../../../iothreads/thread-statistics.js'
import type { Teardown } from '../teardown.js'

/** What ends a loop from within, before it goes to sleep once more. */
const DONE = new Error('done')

export type LoopPolling = Partial<Pick<WorkerOptions, 'pollMaxNs' | 'pollGrow' | 'pollShrink'>>

/** A loop on this thread. What a test wants done in a turn is done in `onTurn`, which ends the loop when it is done. */
export class LoopRig implements LoopClient {
  readonly bell = new Int32Array(new SharedArrayBuffer(4 * BELL_WORD.COUNT))
  readonly doorbell = createEventfd()
  readonly loop: IoLoop
  readonly delayLines: DelayLine[] = []
  turns = 0
  rang = 0
  onTurn: () => void = () => {}
  /** Called again and again while the loop polls, and once before it sleeps. */
  onDeadline: () => void = () => {}
  /** Called when the loop is about to sleep. */
  onSleep: () => void = () => {}

  /** Without polling unless `polling` says otherwise. */
  constructor(t: Teardown, engine: WorkerOptions['engine'], polling: LoopPolling = {}) {
    const { doorbell } = this
    const bell = this.bell.buffer as SharedArrayBuffer
    const statistics = new ThreadStatistics().memory
    const times = { pollMaxNs: 0, pollGrow: 0, pollShrink: 0, ...polling }
    this.loop = new IoLoop({ name: 'loop', cpus: null, ...times, engine, doorbell, bell, statistics }, this)
    const loopEngine = this.loop.engine
    const wait = loopEngine.wait.bind(loopEngine)
    loopEngine.wait = (nanoseconds) => {
      this.onSleep()
      wait(nanoseconds)
    }
    t.teardown(() => {
      this.loop.engine.close()
      raw.close(doorbell)
    })
  }

  ring(why: number = BELL.MESSAGES): void {
    Atomics.store(this.bell, 0, why)
    signalEventfd(this.doorbell)
  }

  messages(): void {
    this.rang++
  }

  jobAdmitted(): void {
    throw new Error('no jobs here')
  }

  jobCompleted(): void {
    throw new Error('no jobs here')
  }

  gatesRang(): void {}

  runGates(): void {}

  settle(): void {
    this.turns++
    this.onTurn()
  }

  pollDrivers(): void {
    for (const line of this.delayLines) line.poll(clockMonotonicNs())
  }

  nextDeadline(): number {
    this.onDeadline()
    return Math.min(Number.POSITIVE_INFINITY, ...this.delayLines.map(({ deadline }) => deadline))
  }

  /** Runs the loop until `done`, which is asked after each turn. Throws when that takes more than ten seconds. */
  runUntil(done: () => boolean): void {
    const end = performance.now() + 10_000
    this.onTurn = () => {
      if (done()) throw DONE
      if (performance.now() > end) throw new Error('it never comes')
    }
    try {
      this.loop.run()
    } catch (error) {
      if (error !== DONE) throw error
    }
  }
}
