import type { Readable } from 'node:stream'

/** Node's argument that makes V8 print one line for each garbage collection, of any isolate of the process. */
export const GC_TRACE_ARG = '--trace-gc-nvp'

const LINE = /^\[\d+:(0x[0-9a-f]+)\]\s+(\d+) ms: pause=.* allocated=(\d+) /

/** A worker's isolate starts this much later than its process, at most; its lines count from there. */
const ISOLATE_START_MS = 500

interface Collection {
  readonly milliseconds: number
  readonly allocated: number
}

/**
 * How much the isolates of a process allocate on their JavaScript heaps, from V8's own account: before each collection
 * it knows the bytes allocated since the last one. Nothing is added to the process but that V8 prints them, and where
 * nothing is allocated nothing is collected. V8 prints through C's stdio, in blocks: the figures are whole when the
 * process has ended.
 */
export class GcTrace {
  readonly #start = Date.now()
  readonly #collections: Collection[] = []
  #rest = ''

  /** @param stdout of a process that is starting now */
  constructor(stdout: Readable) {
    stdout.on('data', (chunk: string | Buffer) => {
      const lines = (this.#rest + chunk.toString()).split('\n')
      this.#rest = lines.pop()!
      for (const line of lines) this.#line(line)
    })
  }

  /**
   * Bytes per second that all isolates together allocated between two moments (Date.now()), and how many collections
   * that is taken from. Without a collection the answer is 0, and less than one young generation was allocated.
   */
  rate(from: number, to: number): { bytesPerSecond: number; collections: number } {
    const first = from - this.#start
    const last = to - this.#start - ISOLATE_START_MS
    const inside = this.#collections.filter((c) => c.milliseconds >= first && c.milliseconds <= last)
    const bytes = inside.reduce((sum, c) => sum + c.allocated, 0)
    return { bytesPerSecond: (bytes * 1000) / (last - first), collections: inside.length }
  }

  #line(line: string): void {
    const match = LINE.exec(line)
    if (match !== null) this.#collections.push({ milliseconds: Number(match[2]), allocated: Number(match[3]) })
  }
}
