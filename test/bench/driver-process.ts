import { setTimeout as sleep } from 'node:timers/promises'
import { clockMonotonicNs, setAffinity } from 'memfd-mmap'
import { ringKind } from '../support/ring-kind.js'
import { Initiator } from '../support/vhost/initiator.js'
import { bareLoop } from './bare-loop.js'
import { Histogram } from './histogram.js'
import { Load } from './load.js'
import { drainLoads, run, startLoads } from './measure.js'
import type { Case } from './row.js'
import { type ThreadTime, threadTimes, threadUse } from './thread-times.js'

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
  /** Of a run; without runs, of doing nothing after the warm-up. */
  readonly seconds: number
  readonly runs: number
}

/** The answer, as JSON on stdout. */
export interface DriverReport {
  readonly iops: number[]
  readonly kicksPerRequest: number
  /** Seconds of CPU time per second, one for each run: of the back end's process, and of its IOThreads. */
  readonly cpu: number[]
  readonly iothreadCpu: number[]
  readonly latencies: number[]
  /** When the measured runs began and ended: Date.now(). */
  readonly from: number
  readonly to: number
  /** The back end's threads before and after the front end did nothing. */
  readonly idle?: { seconds: number; before: [number, ThreadTime][]; after: [number, ThreadTime][] }
}

const isIothread = (name: string): boolean => /^io\d+$/.test(name)

/** Some 8 s after its start, at rest, V8 collects what is left of it, once: that is not what idling costs. */
const SETTLE_MS = 10_000

/** Descriptors that one request takes: three, or one with an indirect table. */
function ringSize(depth: number, indirect: boolean): number {
  return Math.max(128, 2 ** Math.ceil(Math.log2(depth * (indirect ? 1 : 3))))
}

async function vhost(job: DriverJob, socketPath: string, pid: number): Promise<DriverReport> {
  const c = job.case
  const depth = c.qd / c.queues
  ringKind.packed = c.packed
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
        // A slow LUN gives few samples, and a look at the clock costs it nothing.
        probeEvery: c.lun === 'null-delay80' ? 17 : 251,
      } as const
      loads.push(new Load(queue.detach(), initiator.memory, options, latencies, clockMonotonicNs))
      kicks.push(queue.kickFd)
    }
    if (job.driverCpu !== null) setAffinity(0, [job.driverCpu])
    startLoads(loads, kicks)
    run(loads, kicks, job.warmUp)
    latencies.buckets.fill(0)
    const report = { iops: [] as number[], cpu: [] as number[], iothreadCpu: [] as number[] }
    let requests = 0
    let sent = 0
    const from = Date.now()
    for (let i = 0; i < job.runs; i++) {
      const before = threadTimes(pid)
      const result = run(loads, kicks, job.seconds)
      const after = threadTimes(pid)
      report.cpu.push(threadUse(before, after, result.seconds).cpu)
      report.iothreadCpu.push(threadUse(before, after, result.seconds, isIothread).cpu)
      report.iops.push(result.requests / result.seconds)
      requests += result.requests
      sent += result.kicks
    }
    const to = Date.now()
    drainLoads(loads)
    const all = { ...report, from, to, kicksPerRequest: sent / requests, latencies: [...latencies.buckets] }
    return job.runs > 0 ? all : { ...all, idle: await idle(pid, job.seconds) }
  } finally {
    await initiator.close()
  }
}

async function idle(pid: number, seconds: number): Promise<NonNullable<DriverReport['idle']>> {
  await sleep(SETTLE_MS)
  const start = clockMonotonicNs()
  const before = threadTimes(pid)
  await sleep(seconds * 1000)
  const after = threadTimes(pid)
  return { seconds: (clockMonotonicNs() - start) / 1e9, before: [...before], after: [...after] }
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
    iothreadCpu: [],
    from: 0,
    to: 0,
    kicksPerRequest: 0,
    latencies: [...latencies.buckets],
  }
}

const job = JSON.parse(process.argv[2]!) as DriverJob
const report = job.socketPath === null || job.pid === null ? await bare(job) : await vhost(job, job.socketPath, job.pid)
process.stdout.write(`${JSON.stringify(report)}\n`)
