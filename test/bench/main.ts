import { execFile } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { availableParallelism, loadavg, release } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs, promisify } from 'node:util'
import { BackEnd } from './back-end.js'
import type { DriverJob, DriverReport } from './driver-process.js'
import { fioReference, fioVersion } from './fio.js'
import { Histogram } from './histogram.js'
import { benchDir, createImage, warm } from './image.js'
import { markdown, type Report } from './report.js'
import { CASES, type Case, median, type Row, spread } from './row.js'

const USAGE = `usage: npm run bench -- [--quick] [--json FILE] [--lun null,memory,file] [--node-arg ARG]...
  --quick     3 short runs a row instead of 5
  --json      write the report there too
  --lun       only the rows of these LUNs
  --node-arg  an argument for the daemon's node (a profiler's, say)`

const IMAGE_BYTES = 256 * 2 ** 20
const DRIVER = fileURLToPath(new URL('./driver-process.js', import.meta.url))
const exec = promisify(execFile)

/** What a run measures with, and where. */
interface Plan {
  readonly warmUp: number
  readonly seconds: number
  readonly runs: number
  /** CPUs of the back end and the driver; undefined on a machine with one. */
  readonly deviceCpu: number | undefined
  readonly driverCpu: number | undefined
}

async function drive(job: DriverJob): Promise<DriverReport> {
  const { stdout } = await exec(process.execPath, [DRIVER, JSON.stringify(job)], { maxBuffer: 2 ** 24 })
  return JSON.parse(stdout) as DriverReport
}

function job(c: Case, plan: Plan, backEnd: BackEnd | undefined): DriverJob {
  return {
    case: c,
    socketPath: backEnd?.socketPath ?? null,
    pid: backEnd?.child.pid ?? null,
    span: IMAGE_BYTES,
    driverCpu: plan.driverCpu ?? null,
    deviceCpu: plan.deviceCpu ?? null,
    warmUp: plan.warmUp,
    seconds: plan.seconds,
    runs: plan.runs,
  }
}

/** As many CPUs as there are IOThreads, none of them the driver's, if the machine has them. */
function backEndCpus(plan: Plan, iothreads: number): number[] | undefined {
  if (plan.deviceCpu === undefined) return undefined
  const cpus = Array.from({ length: availableParallelism() }, (_, cpu) => cpu)
  return cpus.filter((cpu) => cpu !== plan.driverCpu).slice(0, iothreads)
}

/** Runs `body` with a place to leave its tidying up. */
async function tidily<T>(body: (t: { teardown(handler: () => unknown): void }) => Promise<T>): Promise<T> {
  const handlers: (() => unknown)[] = []
  try {
    return await body({ teardown: (handler) => handlers.push(handler) })
  } finally {
    for (const handler of handlers.reverse()) await handler()
  }
}

/** Median time of one request through the bare loop at depth 1: what the two CPUs cost each other just now, ns. */
async function ringRoundTrip(c: Case, plan: Plan): Promise<number> {
  const report = await drive({
    ...job({ ...c, qd: 1, indirect: false }, plan, undefined),
    warmUp: 0.1,
    seconds: 0.1,
    runs: 3,
  })
  return 1e9 / median(report.iops)
}

async function measure(
  c: Case,
  plan: Plan,
  dir: string,
  image: string,
  fio: boolean,
  nodeArgs: string[],
): Promise<Row> {
  const cpus = backEndCpus(plan, c.iothreads)
  // Half of the reference's runs before ours and half after: a virtual machine's CPUs may move meanwhile.
  const half = { ...plan, runs: Math.ceil(plan.runs / 2) }
  const bare = c.lun === 'null' ? (await drive(job(c, half, undefined))).iops : []
  const before = await ringRoundTrip(c, plan)
  const { report, heap } = await tidily(async (t) => {
    if (c.lun === 'file') warm(image)
    const backEnd = new BackEnd(t, c, { dir, image, bytes: IMAGE_BYTES, cpus: cpus?.join(), nodeArgs })
    await backEnd.listening()
    const report = await drive(job(c, plan, backEnd))
    await backEnd.stop()
    return { report, heap: backEnd.collections.rate(report.from, report.to) }
  })
  const after = await ringRoundTrip(c, plan)
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
    heap_bytes_per_request: heap.bytesPerSecond / iops,
    collections: heap.collections,
    ring_round_trip_ns: [Math.round(before), Math.round(after)],
    cpu: report.cpu.length > 0 ? median(report.cpu) : null,
    ref: null,
    ref_iops: null,
    ratio: null,
  }
  if (c.lun === 'file' && fio) {
    const ref = await fioReference(c, image, { cpus: cpus ?? [], seconds: plan.seconds, runs: 3 })
    const ratio = iops / ref.iops
    return {
      ...row,
      ref: 'fio-io_uring',
      ref_iops: Math.round(ref.iops),
      ratio,
      ref_setup: ref.setup,
      ref_spread: ref.spread,
    }
  }
  if (c.lun === 'null') {
    bare.push(...(await drive(job(c, half, undefined))).iops)
    const ref = median(bare)
    return { ...row, ref: 'bare-loop', ref_iops: Math.round(ref), ratio: iops / ref, ref_spread: spread(bare) }
  }
  return row
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      quick: { type: 'boolean', default: false },
      json: { type: 'string' },
      lun: { type: 'string' },
      'node-arg': { type: 'string', multiple: true, default: [] },
      help: { type: 'boolean', default: false },
    },
  })
  if (values.help) {
    console.log(USAGE)
    return
  }
  const luns = values.lun?.split(',')
  const cases = CASES.filter((c) => luns === undefined || luns.includes(c.lun))
  const pinned = availableParallelism() > 1
  const plan: Plan = {
    warmUp: values.quick ? 1 : 1.5,
    seconds: values.quick ? 1 : 2,
    runs: values.quick ? 3 : 5,
    deviceCpu: pinned ? 0 : undefined,
    driverCpu: pinned ? 1 : undefined,
  }
  const fio = await fioVersion()
  if (fio === undefined) console.error('fio with io_uring is not installed: no reference for the file rows')
  const load = loadavg()[0]!
  if (load > 0.5) console.error(`the machine is busy (load ${load.toFixed(1)}): the figures will be low and vary`)
  const rows: Row[] = []
  await tidily(async (t) => {
    const dir = benchDir(t)
    const image = join(dir, 'image')
    createImage(image, IMAGE_BYTES)
    for (const c of cases) {
      const row = await measure(c, plan, dir, image, fio !== undefined, values['node-arg'])
      rows.push(row)
      console.error(markdown([row]).split('\n')[2])
    }
  })
  const report: Report = {
    node: process.version,
    cpus: availableParallelism(),
    kernel: release(),
    fio: fio ?? null,
    load,
    pinned,
    rows,
  }
  console.log(markdown(rows))
  if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify(report, null, 2)}\n`)
}

try {
  await main()
} catch (error) {
  console.error(error instanceof Error ? error.message : error)
  process.exitCode = (error as { code?: string }).code?.startsWith('ERR_PARSE_ARGS') ? 2 : 1
}
