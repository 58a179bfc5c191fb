import { BackEnd } from './back-end.js'
import { drive, tidily } from './drive.js'
import type { DriverJob } from './driver-process.js'
import { fioReference } from './fio.js'
import { Histogram } from './histogram.js'
import { warm } from './image.js'
import { type Placement, placement } from './placement.js'
import { type Case, isPolling, isScaling, median, type Row, spread } from './row.js'

/** What a run measures with. */
export interface Plan {
  readonly warmUp: number
  /** Of one run. */
  readonly seconds: number
  readonly runs: number
  readonly fioRuns: number
  /** CPUs that may be used. */
  readonly cpus: readonly number[]
  readonly dir: string
  readonly image: string
  readonly imageBytes: number
  readonly fio: boolean
  /** Further arguments for the daemon's node. */
  readonly nodeArgs: readonly string[]
}

export function job(c: Case, plan: Plan, { frontEnd, backEnd }: Placement, to?: BackEnd): DriverJob {
  return {
    case: c,
    socketPath: to?.socketPath ?? null,
    pid: to?.child.pid ?? null,
    span: plan.imageBytes,
    driverCpu: frontEnd,
    deviceCpu: backEnd?.[0] ?? null,
    warmUp: plan.warmUp,
    seconds: plan.seconds,
    runs: plan.runs,
  }
}

/** Median time of one request through the bare loop at depth 1: what the two CPUs cost each other just now, ns. */
async function ringRoundTrip(c: Case, plan: Plan, cpus: Placement): Promise<number> {
  const alone = { ...c, qd: 1, indirect: false, packed: false }
  const report = await drive({ ...job(alone, plan, cpus), warmUp: 0.1, seconds: 0.1, runs: 3 })
  return 1e9 / median(report.iops)
}

/** Measures one row, with its reference. */
export async function measureCase(c: Case, plan: Plan): Promise<Row> {
  const cpus = placement(plan.cpus, c.iothreads)
  const bareLoop = c.lun === 'null' && !c.packed && !isScaling(c) && (c.poll === 'busy' || !isPolling(c))
  // Half of the reference's runs before ours and half after: a virtual machine's CPUs may move meanwhile.
  const half = { ...job(c, plan, cpus), runs: Math.ceil(plan.runs / 2) }
  const bare = bareLoop ? (await drive(half)).iops : []
  const before = await ringRoundTrip(c, plan, cpus)
  const { report, heap } = await tidily(async (t) => {
    if (c.lun === 'file') warm(plan.image)
    const { dir, image, imageBytes: bytes, nodeArgs } = plan
    const backEnd = new BackEnd(t, c, { dir, image, bytes, cpus: cpus.backEnd, nodeArgs })
    await backEnd.listening()
    const report = await drive(job(c, plan, cpus, backEnd))
    await backEnd.stop()
    return { report, heap: backEnd.collections.rate(report.from, report.to) }
  })
  const after = await ringRoundTrip(c, plan, cpus)
  const latencies = new Histogram(report.latencies)
  const iops = median(report.iops)
  const row: Row = {
    ...c,
    iops: Math.round(iops),
    p50_us: latencies.quantile(0.5) / 1000,
    p99_us: latencies.quantile(0.99) / 1000,
    spread: spread(report.iops),
    runs: plan.runs,
    kicks_per_request: report.kicksPerRequest,
    cpu: median(report.cpu),
    iothread_cpu: median(report.iothreadCpu),
    back_end_cpus: cpus.backEnd,
    front_end_cpu: cpus.frontEnd,
    heap_bytes_per_request: heap.bytesPerSecond / iops,
    collections: heap.collections,
    ring_round_trip_ns: [Math.round(before), Math.round(after)],
    ref: null,
    ref_iops: null,
    ratio: null,
  }
  if (c.lun === 'file' && plan.fio) {
    const { seconds, fioRuns: runs } = plan
    const ref = await fioReference(c, plan.image, { cpus: cpus.backEnd ?? [], seconds, runs })
    return {
      ...row,
      ref: 'fio-io_uring',
      ref_iops: Math.round(ref.iops),
      ratio: iops / ref.iops,
      ref_setup: ref.setup,
      ref_spread: ref.spread,
    }
  }
  if (bareLoop) {
    bare.push(...(await drive(half)).iops)
    const ref = median(bare)
    return { ...row, ref: 'bare-loop', ref_iops: Math.round(ref), ratio: iops / ref, ref_spread: spread(bare) }
  }
  return row
}
