/** A thread that writes into a guest's rings and tables while the device reads them. Started by Scribbler. */
import { isMainThread, Worker, workerData } from 'node:worker_threads'
import { Mapping } from 'memfd-mmap'
import { Random } from '../random.js'

interface Job {
  readonly fd: number
  /** Ranges of the file, in bytes. */
  readonly ranges: readonly (readonly [offset: number, length: number])[]
  /** Word 0: 1 for as long as it is to go on. Word 1: how often it has written. */
  readonly control: SharedArrayBuffer
}

export class Scribbler {
  readonly #worker: Worker
  readonly #control = new Int32Array(new SharedArrayBuffer(8))
  readonly #ended: Promise<unknown>

  constructor(fd: number, ranges: Job['ranges']) {
    this.#control[0] = 1
    const job: Job = { fd, ranges, control: this.#control.buffer as SharedArrayBuffer }
    this.#worker = new Worker(new URL(import.meta.url), { workerData: job })
    this.#ended = new Promise((resolve, reject) => {
      this.#worker.once('exit', resolve)
      this.#worker.once('error', reject)
    })
  }

  /** How often it has written so far. */
  get writes(): number {
    return Atomics.load(this.#control, 1)
  }

  async stop(): Promise<void> {
    Atomics.store(this.#control, 0, 0)
    await this.#ended
  }
}

/** Swaps and spoils 16-bit words: mostly with others of the same range, so that it stays likely that they mean something. */
function scribble({ fd, ranges, control }: Job): void {
  const end = Math.max(...ranges.map(([offset, length]) => offset + length))
  const mapping = Mapping.map({ fd, length: end })
  const words = new Uint16Array(mapping.view())
  const random = new Random(1)
  const state = new Int32Array(control)
  while (Atomics.load(state, 0) === 1) {
    const [offset, length] = random.pick(ranges)
    const any = (): number => (offset >> 1) + random.below(length >> 1)
    // A field for a field, a descriptor being eight words.
    const to = any()
    const from = random.once(8) ? any() : to ^ (8 * (1 + random.below(15)))
    const inside = from >= offset >> 1 && from < (offset + length) >> 1
    words[to] = random.once(64) || !inside ? random.next() : words[from]!
    Atomics.add(state, 1, 1)
  }
  mapping.retire()
}

if (!isMainThread && (workerData as Job | null)?.ranges !== undefined) scribble(workerData as Job)
