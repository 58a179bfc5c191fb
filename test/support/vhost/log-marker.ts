/** A thread that writes to pages, here a counter for each thread and page, and marks them in a dirty log. */
import { workerData } from 'node:worker_threads'
import { DirtyLog, LOG_PAGE } from 'vhost-user-protocol-ts'
import { Random } from '../random.js'

export interface LogMarkerJob {
  readonly log: SharedArrayBuffer
  /** A word for each page and thread: how often it was written. */
  readonly written: SharedArrayBuffer
  /** Word 0: threads that are done. */
  readonly control: SharedArrayBuffer
  readonly thread: number
  readonly pages: number
  readonly marks: number
}

const { log, written, control, thread, pages, marks } = workerData as LogMarkerJob
const counters = new Int32Array(written)
const dirty = new DirtyLog(log)
const random = new Random(thread + 1)
for (let i = 0; i < marks; i++) {
  const page = random.below(pages)
  counters[2 * page + thread]!++
  dirty.mark(page * LOG_PAGE, 1)
}
Atomics.add(new Int32Array(control), 0, 1)
