import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { type Case, median, spread } from './row.js'

const run = promisify(execFile)

/** What fio reached: its two set-ups were tried and this is the faster one. */
export interface Reference {
  readonly iops: number
  readonly setup: string
  readonly spread: number
}

/**
 * Two ways to drive io_uring with fio: request by request, and in batches of up to half the depth. Either can be the
 * faster one.
 */
const SETUPS: Readonly<Record<string, (qd: number) => string[]>> = {
  plain: () => [],
  batched: (qd) => {
    const batch = String(Math.max(1, qd >> 1))
    return [
      `--iodepth_batch_submit=${batch}`,
      '--iodepth_batch_complete_min=1',
      `--iodepth_batch_complete_max=${batch}`,
    ]
  },
}

/** Whether fio is installed and has the engine. */
export async function fioVersion(): Promise<string | undefined> {
  try {
    const { stdout } = await run('fio', ['--version'])
    await run('fio', ['--enghelp=io_uring'])
    return stdout.trim()
  } catch {
    return undefined
  }
}

/**
 * fio's io_uring engine on the same file, with the same requests in flight: one job for each IOThread, on the same
 * CPUs.
 */
export async function fioReference(
  c: Case,
  path: string,
  o: { cpus: readonly number[]; seconds: number; runs: number },
): Promise<Reference> {
  const depth = c.qd / c.iothreads
  let best: Reference | undefined
  for (const [setup, extra] of Object.entries(SETUPS)) {
    if (c.qd === 1 && setup !== 'plain') continue
    const results: number[] = []
    for (let i = 0; i < o.runs; i++) {
      const { stdout } = await run('fio', [
        '--name=reference',
        '--output-format=json',
        '--ioengine=io_uring',
        '--registerfiles=1',
        '--gtod_reduce=1',
        '--norandommap=1',
        '--direct=0',
        '--invalidate=0',
        '--overwrite=1',
        '--time_based=1',
        '--ramp_time=0.5',
        `--runtime=${o.seconds * 1000}ms`,
        ...(o.cpus.length > 0 ? [`--cpus_allowed=${o.cpus.join()}`] : []),
        `--numjobs=${c.iothreads}`,
        '--group_reporting=1',
        `--filename=${path}`,
        `--rw=${c.op}`,
        `--bs=${c.bs}`,
        `--iodepth=${depth}`,
        ...extra(depth),
      ])
      const job = JSON.parse(stdout.slice(stdout.indexOf('{'))).jobs[0]
      if (job.error !== 0) throw new Error(`fio: error ${job.error}`)
      results.push(c.op.endsWith('read') ? job.read.iops : job.write.iops)
    }
    const iops = median(results)
    if (best === undefined || iops > best.iops) best = { iops, setup, spread: spread(results) }
  }
  return best!
}
