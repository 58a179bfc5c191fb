import { ERRNO } from 'memfd-mmap'
import type { BouncePool } from './bounce-pool.js'
import { copyPieces, fillRange, type Steps, settled, zeroRange } from './composite.js'
import type { Driver } from './drivers/driver.js'
import type { MediumJob } from './medium-job.js'
import type { Medium } from './messages.js'
import type { Request } from './request.js'
import { JOB_SLOT, RequestTable } from './request-table.js'

/** Jobs that run at once; others wait for their turn. */
const AT_ONCE = 16

/** What jobs are run with. */
export interface MediumJobParts {
  readonly driver: (medium: Medium) => Driver
  readonly pool: BouncePool
  /** A job has ended, with a result >= 0 or -errno. */
  readonly ended: (id: number, result: number) => void
}

interface Running {
  readonly id: number
  readonly steps: Steps
}

/**
 * Work on media that no initiator's request stands for: what the main thread asks for in the course of a long command (EXTENDED COPY, SANITIZE,
 * FORMAT UNIT), in pieces that are short. It is done with the drivers and the I/O of the thread, between its requests.
 */
export class MediumJobs {
  readonly #parts: MediumJobParts
  // Made when the first job comes: most threads never have one.
  #table: RequestTable | null = null
  readonly #running = new Map<Request, Running>()
  readonly #waiting: { id: number; job: MediumJob }[] = []

  constructor(parts: MediumJobParts) {
    this.#parts = parts
  }

  /** Whether nothing runs or waits. */
  get idle(): boolean {
    return this.#running.size === 0 && this.#waiting.length === 0
  }

  /** Begins a job, as soon as there is room for it. `id` comes back when it has ended. */
  start(id: number, job: MediumJob): void {
    this.#waiting.push({ id, job })
    this.#begin()
  }

  /** The I/O that a job (by its slot) waited for has ended. */
  completed(slot: number, result: number): void {
    const request = this.#table!.requests[slot]!
    this.#proceed(request, this.#running.get(request)!, result)
  }

  #begin(): void {
    this.#table ??= new RequestTable(JOB_SLOT, AT_ONCE)
    while (this.#waiting.length > 0) {
      const request = this.#table.take()
      if (request === null) return
      const { id, job } = this.#waiting.shift()!
      const running = { id, steps: this.#stepsOf(request, job, this.#table) }
      this.#running.set(request, running)
      this.#proceed(request, running, 0)
    }
  }

  #stepsOf(request: Request, job: MediumJob, table: RequestTable): Steps {
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
      case 'flush':
        return flush(driver, request)
    }
  }

  #proceed(request: Request, { id, steps }: Running, result: number): void {
    const next = steps.next(result)
    if (!next.done) return
    this.#running.delete(request)
    this.#table!.give(request)
    this.#parts.ended(id, next.value)
    this.#begin()
  }

  /** Gives everything back. No job is there any more. */
  release(): void {
    if (!this.idle) throw new Error(`jobs are running, errno ${ERRNO.EBUSY}`)
    this.#table?.release()
    this.#table = null
  }
}

function* flush(driver: Driver, request: Request): Steps {
  return yield* settled(driver.flush(request))
}
