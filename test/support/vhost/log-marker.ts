/** A thread that writes to every other page of a dirty log, in step with the one that writes to those between. */
import { isMainThread, workerData } from 'node:worker_threads'
import { DirtyLog, LOG_PAGE } from 'vhost-user-protocol-ts'

export interface LogMarkerJob {
  readonly log: SharedArrayBuffer
  /** A word for each page: how often it was written. */
  readonly written: SharedArrayBuffer
  /** A word for each of the two threads: pages that it is done with. */
  readonly progress: SharedArrayBuffer
  readonly thread: number
  readonly pages: number
}

export const MARKS_PER_PAGE = 3

/** How long a thread waits for the other one, which may not be running. */
const PATIENCE = 100

function mark({ log, written, progress, thread, pages }: LogMarkerJob): void {
  const content = new Int32Array(written)
  const steps = new Int32Array(progress)
  const dirty = new DirtyLog(log)
  for (let step = 0; step < pages / 2; step++) {
    const page = 2 * step + thread
    for (let i = 0; i < MARKS_PER_PAGE; i++) {
      content[page]!++
      dirty.mark(page * LOG_PAGE, 1)
    }
    Atomics.store(steps, thread, step + 1)
    for (let i = 0; i < PATIENCE && Atomics.load(steps, 1 - thread) <= step; i++);
  }
}

if (!isMainThread) mark(workerData as LogMarkerJob)
