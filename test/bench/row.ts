import type { Op } from './load.js'

export type Lun = 'null' | 'memory' | 'file'
export type Poll = 'busy' | 'adaptive' | 'off'

/** What one row of the report measures. */
export interface Case {
  readonly lun: Lun
  readonly op: Op
  /** Bytes of a request. */
  readonly bs: number
  /** Requests in flight, of all queues together. */
  readonly qd: number
  readonly queues: number
  readonly iothreads: number
  readonly poll: Poll
  /** Whether chains go through indirect tables, as Linux' driver makes them when it may. */
  readonly indirect: boolean
}

/** One row of the report. Times in microseconds; ratios are ours to the reference's. */
export interface Row extends Case {
  readonly iops: number
  readonly p50_us: number
  readonly p99_us: number
  /** (largest - smallest) / median of the runs. */
  readonly spread: number
  readonly runs: number
  readonly kicks_per_request: number
  /** Seconds of CPU time of the back end's process per second. */
  readonly cpu: number | null
  /**
   * Bytes that all JavaScript heaps of the back end together allocate, from V8's account, and the collections it is
   * from.
   */
  readonly heap_bytes_per_request: number
  readonly collections: number
  /**
   * One request through the bare loop at depth 1, before and after the runs, ns: how far apart the two CPUs were. On a
   * virtual machine it can jump by a factor of five when the host moves them, and with it every figure that crosses
   * the ring.
   */
  readonly ring_round_trip_ns: readonly [number, number]
  readonly ref: 'fio-io_uring' | 'bare-loop' | null
  readonly ref_iops: number | null
  readonly ratio: number | null
  /** Which of fio's set-ups was the faster one and is the reference. */
  readonly ref_setup?: string
  readonly ref_spread?: number
}

const row = (lun: Lun, op: Op, qd: number, more: Partial<Case> = {}): Case => ({
  lun,
  op,
  bs: 4096,
  qd,
  queues: 1,
  iothreads: 1,
  poll: 'busy',
  indirect: false,
  ...more,
})

/** The rows of a full run, in order. */
export const CASES: readonly Case[] = [
  ...(['null', 'memory', 'file'] as const).flatMap((lun) => [
    row(lun, 'randread', 1),
    row(lun, 'randread', 32),
    row(lun, 'randread', 128, { indirect: true }),
  ]),
  row('memory', 'randwrite', 32),
  row('file', 'randwrite', 1),
  row('file', 'randwrite', 32),
  row('file', 'randread', 1, { poll: 'adaptive' }),
  row('file', 'randread', 32, { poll: 'adaptive' }),
  row('file', 'read', 8, { bs: 131072 }),
  row('file', 'randread', 64, { queues: 2, iothreads: 2, poll: 'adaptive' }),
]

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
}

export function spread(values: readonly number[]): number {
  return (Math.max(...values) - Math.min(...values)) / median(values)
}
