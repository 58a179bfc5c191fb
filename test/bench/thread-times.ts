import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

/** What a thread has had of the CPUs since it began. */
export interface ThreadTime {
  readonly name: string
  /** Time on a CPU, ns. */
  readonly ns: number
  /** How often it was put on a CPU. */
  readonly slices: number
}

/** What a thread, or several together, had of the CPUs over some time. */
export interface ThreadUse {
  /** Seconds on a CPU per second. */
  readonly cpu: number
  readonly slicesPerSecond: number
}

/**
 * The threads of a process by id, from /proc/PID/task/TID/schedstat: nanoseconds, up to the last switch or timer tick
 * of a thread that runs. (/proc/PID/stat counts ticks of 10 ms, and only those that happen to meet the process.)
 */
export function threadTimes(pid: number, proc = '/proc'): Map<number, ThreadTime> {
  const times = new Map<number, ThreadTime>()
  const tasks = join(proc, String(pid), 'task')
  for (const tid of readdirSync(tasks)) {
    let schedstat: string
    let comm: string
    try {
      schedstat = readFileSync(join(tasks, tid, 'schedstat'), 'latin1')
      comm = readFileSync(join(tasks, tid, 'comm'), 'utf8')
    } catch (error) {
      // It has ended meanwhile.
      if (['ENOENT', 'ESRCH'].includes((error as NodeJS.ErrnoException).code ?? '')) continue
      throw error
    }
    const [ns, , slices] = schedstat.trim().split(' ')
    times.set(Number(tid), { name: comm.trim(), ns: Number(ns), slices: Number(slices) })
  }
  return times
}

/**
 * The use between two looks, of the threads of some names. A thread that ended in between is not counted, one that
 * began is.
 */
export function threadUse(
  before: ReadonlyMap<number, ThreadTime>,
  after: ReadonlyMap<number, ThreadTime>,
  seconds: number,
  of: (name: string) => boolean = () => true,
): ThreadUse {
  let ns = 0
  let slices = 0
  for (const [tid, now] of after) {
    if (!of(now.name)) continue
    const then = before.get(tid)
    ns += now.ns - (then?.ns ?? 0)
    slices += now.slices - (then?.slices ?? 0)
  }
  return { cpu: ns / 1e9 / seconds, slicesPerSecond: slices / seconds }
}
