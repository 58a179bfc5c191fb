import { Mapping } from 'memfd-mmap'
import type { Request } from '../../../iothreads/request.js'
import { RequestTable } from '../../../iothreads/request-table.js'
import type { Teardown } from '../teardown.js'

/** Requests with data segments in memory of this process, for drivers and steps. */
export class SegmentRig {
  readonly table = new RequestTable(0, 16)
  readonly bytes: Uint8Array
  readonly #mapping: Mapping

  /** @param length bytes of memory for the segments */
  constructor(t: Teardown, length: number) {
    this.#mapping = Mapping.anonymous(length)
    this.bytes = new Uint8Array(this.#mapping.view())
    t.teardown(() => {
      this.#mapping.unmap()
      this.table.release()
    })
  }

  get address(): number {
    return this.#mapping.address
  }

  /** A request whose data-out and data-in segments are (offset, length) pairs in `bytes`. */
  request(out: readonly (readonly [number, number])[], into: readonly (readonly [number, number])[] = []): Request {
    const request = this.table.take()!
    request.outSegments = out.length
    request.inSegments = into.length
    for (const [i, [offset, length]] of [...out, ...into].entries()) {
      const at = request.firstSegment + 2 * i
      this.table.segments[at] = this.#mapping.address + offset
      this.table.segments[at + 1] = length
    }
    request.outLength = out.reduce((sum, [, length]) => sum + length, 0)
    request.inLength = into.reduce((sum, [, length]) => sum + length, 0)
    request.task.reset()
    return request
  }

  /** What the segments hold, one after another. */
  content(segments: readonly (readonly [number, number])[]): Uint8Array {
    return new Uint8Array(
      Buffer.concat(segments.map(([offset, length]) => this.bytes.subarray(offset, offset + length))),
    )
  }
}

/** Cuts `length` bytes into segments of random sizes at random distances, from `start` on. */
export function scatter(length: number, count: number, random: () => number, start = 0): [number, number][] {
  const cuts = Array.from({ length: count - 1 }, () => Math.floor(random() * (length + 1))).sort((a, b) => a - b)
  const segments: [number, number][] = []
  let at = start
  let done = 0
  for (const end of [...cuts, length]) {
    at += Math.floor(random() * 30)
    // Empty buffers never become segments.
    if (end > done) segments.push([at, end - done])
    at += end - done
    done = end
  }
  return segments
}

/** A generator of numbers in [0, 1) that a seed decides (mulberry32). */
export function seeded(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let x = Math.imul(state ^ (state >>> 15), state | 1)
    x = (x + Math.imul(x ^ (x >>> 7), x | 61)) ^ x
    return ((x ^ (x >>> 14)) >>> 0) / 2 ** 32
  }
}
