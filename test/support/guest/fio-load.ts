import { ReportedError } from '../deadline.js'
import { Background } from './background.js'
import type { Guest } from './guest.js'

/** What is looked at in fio's report of a job (fio(1), --output-format=json). */
export interface FioJob {
  jobname: string
  /** An errno, 0 for none. */
  error: number
  read: { io_bytes: number; total_ios: number }
  write: { io_bytes: number; total_ios: number }
}

export interface FioLoadOptions {
  /** Options of all jobs beside --direct=1 --ioengine=libaio, on fio's command line. */
  options: string
  /** One for each job, which runs beside the others. */
  jobs: readonly string[]
}

const END = 120_000

/**
 * fio in the guest's background, one run after another until it is stopped. Each run has another seed, so that none
 * verifies what an earlier one has written.
 */
export class FioLoad {
  readonly #guest: Guest
  readonly #background: Background
  readonly #path: string

  private constructor(guest: Guest, background: Background, path: string) {
    this.#guest = guest
    this.#background = background
    this.#path = path
  }

  static async start(guest: Guest, { options, jobs }: FioLoadOptions): Promise<FioLoad> {
    const path = (await guest.check('mktemp -d /tmp/load-XXXXXX')).trim()
    const background = await Background.start(
      guest,
      `run=0
       while [ ! -e ${path}/stop ]; do
         run=$((run + 1))
         fio --randseed=$run --output=${path}/report --output-format=json --direct=1 --ioengine=libaio \\
           ${options} ${jobs.join(' ')}
         cat ${path}/report >> ${path}/reports
         echo , >> ${path}/reports
       done`,
    )
    return new FioLoad(guest, background, path)
  }

  /** Lets the current run end. The jobs of all runs; rejects when fio has failed. */
  async stop(): Promise<FioJob[]> {
    await this.#guest.check(`touch ${this.#path}/stop`)
    const { status, stdout, stderr } = await this.#background.ended(END)
    if (status !== 0) throw new ReportedError(`fio has ended with ${status}`, stdout + stderr + this.#guest.report())
    const reports = await this.#guest.check(`cat ${this.#path}/reports; rm -r ${this.#path}`)
    const runs = JSON.parse(`[${reports.trimEnd().slice(0, -1)}]`) as { jobs: FioJob[] }[]
    return runs.flatMap(({ jobs }) => jobs)
  }
}

/** Random writes of mixed sizes to each disk from each of two CPUs, to a region for each, which are verified in the end. */
export const verifiedWrites = (disks: readonly string[], mebibytes: number, depth = 16): FioLoadOptions => ({
  options: `--iodepth=${depth} --rw=randwrite --bssplit=4k/60:16k/20:64k/15:128k/5 --verify=crc32c --verify_fatal=1`,
  jobs: disks.flatMap((disk) =>
    [0, 1].map(
      (cpu) =>
        `--name=${disk}-cpu${cpu} --filename=/dev/${disk} --offset=${cpu * mebibytes}m --size=${mebibytes}m --cpus_allowed=${cpu}`,
    ),
  ),
})
