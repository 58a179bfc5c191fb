import { read10, write10 } from '../iothreads/cdb.js'
import { Random } from '../random.js'
import type { Initiator } from './initiator.js'
import type { ScsiResult } from './scsi-request.js'

const BLOCK = 512
const CHECK_CONDITION = 2
const UNIT_ATTENTION = 6
/** 4 KiB. */
const BLOCKS = 8

export interface LoadOptions {
  readonly queues: readonly number[]
  /** Commands in flight on each queue. */
  readonly depth: number
  /** The first block that it writes to; each of its queues * depth jobs takes 8 blocks from there on. */
  readonly firstBlock?: number
  readonly target?: number
  readonly lun?: number
  readonly seed?: number
  /** Repeat commands that end in a unit attention: of a device that is not the same any more, or changes. Default: that is a fault. */
  readonly attentions?: boolean
}

/**
 * Keeps queues full with commands whose data is checked. Each job has 4 KiB of the disk for itself: it writes its next
 * version there, reads it back through any of the queues, and so on, one command after the other. A completion that is
 * lost stops the job, one that comes early or twice, or a command that overtakes the one before, shows other data.
 */
export class VerifiedLoad {
  /** Commands given to each queue, by its number. */
  readonly submitted: number[] = []
  /** The version that each job has written and read back last. */
  readonly versions: number[] = []
  readonly #initiator: Initiator
  readonly #options: LoadOptions
  readonly #jobs: Promise<number>[]
  readonly #random: Random
  #stopping = false
  #answered = 0
  #lastAnswer = performance.now()
  #longestPause = 0
  #milestones: { count: number; resolve: () => void }[] = []

  constructor(initiator: Initiator, options: LoadOptions) {
    this.#initiator = initiator
    this.#options = options
    this.#random = new Random(options.seed ?? 1)
    for (const queue of options.queues) this.submitted[queue] = 0
    const jobs = options.queues.length * options.depth
    this.#jobs = Array.from({ length: jobs }, (_, job) => this.#run(job))
    for (const job of this.#jobs) job.catch(() => {})
  }

  /** Rejects when something was wrong; never resolves before `stop`. */
  get failed(): Promise<unknown> {
    return Promise.all(this.#jobs)
  }

  /** Lets every job end; resolves with the number of versions that were written and read back, or rejects with the fault. */
  async stop(): Promise<number> {
    this.#stopping = true
    const versions = await Promise.all(this.#jobs)
    return versions.reduce((sum, count) => sum + count, 0)
  }

  /** Resolves when `count` more commands have been answered, or rejects with what was wrong. */
  async progress(count: number): Promise<void> {
    const reached = new Promise<void>((resolve) => {
      this.#milestones.push({ count: this.#answered + count, resolve })
    })
    await Promise.race([reached, this.failed])
  }

  /** The longest time in which nothing was answered since this was last asked for, ms. */
  takeLongestPause(): number {
    const longest = this.#longestPause
    this.#longestPause = 0
    return longest
  }

  /** What a job's `version` has on the disk. */
  static pattern(job: number, version: number): Uint8Array {
    const words = Uint32Array.from({ length: (BLOCKS * BLOCK) / 4 }, (_, i) => Math.imul(job * 7919 + version, i + 1))
    words[0] = job
    words[1] = version
    return new Uint8Array(words.buffer)
  }

  async #run(job: number): Promise<number> {
    const { queues, depth, firstBlock = 0 } = this.#options
    const own = queues[Math.floor(job / depth)]!
    const block = firstBlock + job * BLOCKS
    let version = 0
    while (!this.#stopping) {
      version++
      const pattern = VerifiedLoad.pattern(job, version)
      const written = await this.#command(own, { cdb: write10(block, BLOCKS), dataOut: pattern })
      check(written.residual === 0, `job ${job}: residual ${written.residual} of a write`)
      const through = this.#random.pick(queues)
      const read = await this.#command(through, { cdb: read10(block, BLOCKS), dataIn: pattern.length })
      if (Buffer.compare(read.data, pattern) !== 0) {
        const words = new DataView(read.data.buffer, read.data.byteOffset)
        const found = `job ${words.getUint32(0, true)} version ${words.getUint32(4, true)}`
        throw new Error(`job ${job} version ${version} on block ${block} reads as ${found} through queue ${through}`)
      }
      this.versions[job] = version
    }
    return version
  }

  #count(): void {
    this.#answered++
    const now = performance.now()
    this.#longestPause = Math.max(this.#longestPause, now - this.#lastAnswer)
    this.#lastAnswer = now
    if (this.#milestones.length === 0) return
    const reached = this.#milestones.filter(({ count }) => count <= this.#answered)
    this.#milestones = this.#milestones.filter(({ count }) => count > this.#answered)
    for (const { resolve } of reached) resolve()
  }

  async #command(
    queue: number,
    command: { cdb: ArrayLike<number>; dataOut?: Uint8Array; dataIn?: number },
  ): Promise<ScsiResult> {
    const { target = 0, lun = 0 } = this.#options
    this.submitted[queue]!++
    const answer = await this.#initiator.submit({ ...command, target, lun }, { queue }).done
    this.#count()
    if (this.#options.attentions === true && isUnitAttention(answer)) return this.#command(queue, command)
    check(
      answer.response === 0 && answer.status === 0,
      `response ${answer.response} status ${answer.status} on queue ${queue}`,
    )
    return answer
  }
}

function isUnitAttention({ response, status, sense }: ScsiResult): boolean {
  return response === 0 && status === CHECK_CONDITION && (sense[2]! & 15) === UNIT_ATTENTION
}

function check(condition: boolean, fault: string): void {
  if (!condition) throw new Error(fault)
}
