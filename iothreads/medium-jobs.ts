import { ERRNO } from 'memfd-mmap'
import type { BouncePool } from './bounce-pool.js'
import { copyPieces, fillRange, type Steps, zeroRange } from './composite.js'
import type { Driver } from './drivers/driver.js'
import type { MediumJob } from './medium-job.js'
import type { Medium } from './messages.js'
import type { Request } from './request.js'
import { JOB_SLOT, RequestTable } from './request-table.js'
import type { WriteGate } from './write-gate.js'
import { stripesOf } from './write-gate-memory.js'
import type { WriteGates } from './write-gates.js'

/** Jobs that run at once; others wait for their turn. */
const AT_ONCE = 16

/** What jobs are run with. */
export interface MediumJobParts {
  readonly driver: (medium: Medium) => Driver
  readonly pool: BouncePool
  /** Those of the thread. */
  readonly gates: WriteGates<Request>
  /** A job has ended, with a result >= 0 or -errno. */
  readonly ended: (id: number, result: number) => void
}

const PASSED = { done: true, value: 0 } as const

interface Running {
  readonly id: number
  readonly job: MediumJob
  /** The one that it passes. */
  readonly gate: WriteGate<Request>
  /** null: it passes the gate, and no more. */
  readonly steps: Steps | null
}

/**
 * Work on media that no initiator's request stands for: what the main thread asks for in the course of a long command (EXTENDED COPY, SANITIZE,
 * FORMAT UNIT), in pieces that are short. It is done with the drivers and the I/O of the thread, between its requests, and passes the write
 * gates of the units as they do.
 */
export class MediumJobs {
  readonly #parts: MediumJobParts
  // Made when the first job comes: most threads never have one.
  #table: RequestTable | null = null
  readonly #running = new Map<Request, Running>()
  readonly #waiting: { id: number; job: MediumJob }[] = []
  /** What is kept in a gate, by its key. */
  readonly #held = new Map<number, Request>()

  constructor(parts: MediumJobParts) {
    this.#parts = parts
  }

  /** Whether nothing runs, is held or waits. */
  get idle(): boolean {
    return this.#running.size === 0 && this.#waiting.length === 0
  }

  /** Begins a job, as soon as there is room for it. `id` comes back when it has ended. */
  start(id: number, job: MediumJob): void {
    this.#waiting.push({ id, job })
    this.#begin()
  }

  /** Lets go of a range that was held. */
  letGo(key: number): void {
    const request = this.#held.get(key)
    if (request === undefined) throw new Error(`nothing is held by ${key}`)
    this.#held.delete(key)
    this.#leave(request, this.#running.get(request)!)
    this.#begin()
  }

  /** The I/O that a job (by its slot) waited for has ended. */
  completed(slot: number, result: number): void {
    const request = this.#table!.requests[slot]!
    this.#proceed(request, this.#running.get(request)!, result)
  }

  /** The gate that a job waited for lets it in. */
  admitted(slot: number): void {
    this.completed(slot, 0)
  }

  #begin(): void {
    this.#table ??= new RequestTable(JOB_SLOT, AT_ONCE)
    while (this.#waiting.length > 0) {
      const request = this.#table.take()
      if (request === null) return
      const { id, job } = this.#waiting.shift()!
      const gate = this.#parts.gates.open(job.gate.memory, job.gate.reads)
      const running = { id, job, gate, steps: this.#stepsOf(request, job, this.#table) }
      this.#running.set(request, running)
      if (gate.pass(request, stripesOf(job.offset, job.length), false)) this.#proceed(request, running, 0)
    }
  }

  #stepsOf(request: Request, job: MediumJob, table: RequestTable): Steps | null {
    const { driver: driverOf, pool } = this.#parts
    const { task } = request
    const driver = driverOf(job.medium)
    const context = { driver, table, pool }
    task.reset()
    task.offset = job.offset
    task.length = job.length
    switch (job.type) {
      case 'zero':
        return zeroRange(context, request, job.deallocate)
      case 'fill':
        return fillRange(context, request, job.pattern)
      case 'copy':
        return copyPieces(context, request, driverOf(job.source), job.sourceOffset)
      case 'hold':
        return null
    }
  }

  #proceed(request: Request, running: Running, result: number): void {
    const next = running.steps === null ? PASSED : running.steps.next(result)
    if (!next.done) return
    if (running.job.type === 'hold') this.#held.set(running.job.key, request)
    else this.#leave(request, running)
    this.#parts.ended(running.id, next.value)
    this.#begin()
  }

  #leave(request: Request, { gate, job }: Running): void {
    gate.leave(request)
    this.#parts.gates.close(job.gate.memory)
    this.#running.delete(request)
    this.#table!.give(request)
  }

  /** Gives everything back. No job is there any more. */
  release(): void {
    if (!this.idle) throw new Error(`jobs are running, errno ${ERRNO.EBUSY}`)
    this.#table?.release()
    this.#table = null
  }
}
