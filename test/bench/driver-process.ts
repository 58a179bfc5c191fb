import { readFileSync } from 'node:fs'
import { clockMonotonicNs, setAffinity } from 'memfd-mmap'
import { Initiator } from '../support/vhost/initiator.js'
import { bareLoop } from './bare-loop.js'
import { Histogram } from './histogram.js'
import { Load } from './load.js'
import { drainLoads, run, startLoads } from './measure.js'
import type { Case } from './row.js'

/** What the parent asks for, as JSON in the first argument. */
export interface DriverJob {
  readonly case: Case
  /** The back end's socket; none: the bare loop, with its device on `deviceCpu`. */
  readonly socketPath: string | null
  readonly pid: number | null
  readonly span: number
  readonly driverCpu: number | null
  readonly deviceCpu: number | null
  readonly warmUp: number
  readonly seconds: number
  readonly runs: number
}

/** The answer, as JSON on stdout. `cpu`: seconds of the back end's CPU time per second, one for each run. */
export interface DriverReport {
  readonly iops: number[]
  readonly kicksPerRequest: number
  readonly cpu: number[]
  readonly latencies: number[]
  /** When the measured runs began and ended: Date.now(). */
  readonly from: number
  readonly to: number
}

const CLOCK_TICKS = 100

/** User and system time of a process in seconds (proc(5), fields 14 and 15 of stat; USER_HZ is 100). */
function cpuSeconds(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return (Number(fields[11]) + Number(fields[12])) / CLOCK_TICKS
}

/** Descriptors that one request takes: three, or one with an indirect table. */
function ringSize(depth: number, indirect: boolean): number {
  return Math.max(128, 2 ** Math.ceil(Math.log2(depth * (indirect ? 1 : 3))))
}

async function vhost(job: DriverJob, socketPath: string): Promise<DriverReport> {
  const c = job.case
  const depth = c.qd / c.queues
  const initiator = await Initiator.connect(socketPath, {
    queues: c.queues,
    ringSize: ringSize(depth, c.indirect),
    memory: [{ guestAddress: 0x10_0000, size: 2 ** 28 }],
    indirectEntries: c.indirect ? 4 : 0,
  })
  try {
    // Takes the unit attention of a fresh nexus, and proves that there is a medium.
    await initiator.ready(0, 0)
    const latencies = new Histogram()
    const loads: Load[] = []
    const kicks: number[] = []
    for (let i = 0; i < c.queues; i++) {
      const queue = initiator.request(i)
      const options = {
        op: c.op,
        blockSize: c.bs,
        depth,
        span: job.span,
        style: c.indirect ? 'indirect' : 'direct',
        target: 0,
        lun: 0,
        seed: 12345 + i,
      } as const
      loads.push(new Load(queue.detach(), initiator.memory, options, latencies, clockMonotonicNs))
      kicks.push(queue.kickFd)
    }
    if (job.driverCpu !== null) setAffinity(0, [job.driverCpu])
    startLoads(loads, kicks)
    run(loads, kicks, job.warmUp)
    latencies.buckets.fill(0)
    const iops: number[] = []
    const cpu: number[] = []
    let requests = 0
    let sent = 0
    const from = Date.now()
    for (let i = 0; i < job.runs; i++) {
      const before = job.pid === null ? 0 : cpuSeconds(job.pid)
      const result = run(loads, kicks, job.seconds)
      if (job.pid !== null) cpu.push((cpuSeconds(job.pid) - before) / result.seconds)
      iops.push(result.requests / result.seconds)
      requests += result.requests
      sent += result.kicks
    }
    const to = Date.now()
    drainLoads(loads)
    return { iops, cpu, from, to, kicksPerRequest: sent / requests, latencies: [...latencies.buckets] }
  } finally {
    await initiator.close()
  }
}

async function bare(job: DriverJob): Promise<DriverReport> {
  const { runs, latencies } = await bareLoop({
    depth: job.case.qd,
    ringSize: ringSize(job.case.qd, job.case.indirect),
    style: job.case.indirect ? 'indirect' : 'direct',
    warmUp: job.warmUp,
    seconds: job.seconds,
    runs: job.runs,
    driverCpu: job.driverCpu ?? undefined,
    deviceCpu: job.deviceCpu ?? undefined,
  })
  return {
    iops: runs.map((r) => r.requests / r.seconds),
    cpu: [],
    from: 0,
    to: 0,
    kicksPerRequest: 0,
    latencies: [...latencies.buckets],
  }
}

const job = JSON.parse(process.argv[2]!) as DriverJob
const report = job.socketPath === null ? await bare(job) : await vhost(job, job.socketPath)
process.stdout.write(`${JSON.stringify(report)}\n`)
