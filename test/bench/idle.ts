import { BackEnd } from './back-end.js'
import { drive, tidily } from './drive.js'
import { job, type Plan } from './measure-case.js'
import { placement } from './placement.js'
import type { Case } from './row.js'
import { markdownTable } from './table.js'
import { threadUse } from './thread-times.js'

/** What a daemon takes of a CPU while a front end is connected to it and does nothing. */
export interface Idle {
  readonly seconds: number
  readonly queues: number
  readonly iothreads: number
  /** Of one CPU, all threads together. */
  readonly cpu_percent: number
  /** How often any of the threads ran. */
  readonly slices_per_second: number
  /** By name: threads of the same name together, those that never ran left out. */
  readonly threads: readonly { name: string; cpu_percent: number; slices_per_second: number }[]
}

const IDLE: Case = {
  lun: 'file',
  op: 'randread',
  bs: 4096,
  qd: 32,
  queues: 4,
  iothreads: 4,
  poll: 'adaptive',
  indirect: false,
  packed: false,
  quick: true,
}

/** A daemon after some load, which has taught its IOThreads to poll, and after its front end has rested. */
export function measureIdle(plan: Plan, seconds: number): Promise<Idle> {
  return tidily(async (t) => {
    const cpus = placement(plan.cpus, IDLE.iothreads)
    const { dir, image, imageBytes: bytes, nodeArgs } = plan
    const backEnd = new BackEnd(t, IDLE, { dir, image, bytes, cpus: cpus.backEnd, nodeArgs })
    await backEnd.listening()
    const report = await drive({ ...job(IDLE, plan, cpus, backEnd), seconds, runs: 0 })
    await backEnd.stop()
    const measured = report.idle!
    const before = new Map(measured.before)
    const after = new Map(measured.after)
    const use = (of?: (name: string) => boolean) => {
      const { cpu, slicesPerSecond } = threadUse(before, after, measured.seconds, of)
      return { cpu_percent: 100 * cpu, slices_per_second: slicesPerSecond }
    }
    const names = [...new Set([...after.values()].map(({ name }) => name))]
    const threads = names.map((name) => ({ name, ...use((each) => each === name) }))
    return {
      seconds: measured.seconds,
      queues: IDLE.queues,
      iothreads: IDLE.iothreads,
      ...use(),
      threads: threads.filter((thread) => thread.slices_per_second > 0),
    }
  })
}

export function idleTable(idle: Idle): string {
  const all = [...idle.threads, { ...idle, name: 'all' }]
  return markdownTable(
    [
      ['thread', ({ name }) => name],
      ['% of a CPU', ({ cpu_percent }) => cpu_percent.toFixed(3)],
      ['runs a second', ({ slices_per_second }) => slices_per_second.toFixed(1)],
    ],
    all,
  )
}
