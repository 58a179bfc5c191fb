import type { Op } from './load.js'

/** `null-delay80`: every request takes 80 us, as on a fast SSD, though nothing is read: synthetic. */
export type Lun = 'null' | 'null-delay80' | 'memory' | 'file'
/** For ever, poll-max-ns as it is by default, not at all. */
export type Poll = 'busy' | 'adaptive' | 'off'

/** What one row of the report measures. */
export interface Case {
  readonly lun: Lun
  readonly op: Op
  /** Bytes of a request. */
  readonly bs: number
  /** Requests in flight, of all queues together; each has its share all the time. */
  readonly qd: number
  readonly queues: number
  readonly iothreads: number
  readonly poll: Poll
  /** Whether chains go through indirect tables, as Linux' driver makes them when it may. */
  readonly indirect: boolean
  /** Packed rings, not split ones. */
  readonly packed: boolean
  /** Whether a quick run has it. */
  readonly quick: boolean
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
  /** Seconds of CPU time per second: of the back end's process, and of its IOThreads alone. */
  readonly cpu: number | null
  readonly iothread_cpu: number | null
  /** The CPUs that they could run on; the front end's one thread never leaves its CPU. null: any. */
  readonly back_end_cpus: readonly number[] | null
  readonly front_end_cpu: number | null
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
  packed: false,
  quick: false,
  ...more,
})

const QUICK = { quick: true } as const

const BASIC: readonly Case[] = [
  ...(['null', 'memory', 'file'] as const).flatMap((lun) => [
    row(lun, 'randread', 1, { quick: lun !== 'memory' }),
    row(lun, 'randread', 32, QUICK),
    row(lun, 'randread', 128, { indirect: true }),
  ]),
  row('memory', 'randwrite', 32),
  row('file', 'randwrite', 1),
  row('file', 'randwrite', 32),
  row('file', 'randread', 32, { poll: 'adaptive' }),
  row('file', 'read', 8, { bs: 131072 }),
  row('file', 'randread', 64, { queues: 2, iothreads: 2, poll: 'adaptive' }),
]

/** Request queues of the rows that show how IOThreads scale. */
const QUEUES = 4

const SCALING: readonly Case[] = (['null', 'file', 'null-delay80'] as const).flatMap((lun) =>
  [1, 32].flatMap((depth) =>
    [1, 2, 4].map((iothreads) =>
      row(lun, 'randread', depth * QUEUES, {
        queues: QUEUES,
        iothreads,
        poll: 'adaptive',
        quick: lun === 'null' && depth === 32,
      }),
    ),
  ),
)

const POLLING: readonly Case[] = (['null', 'file', 'null-delay80'] as const).flatMap((lun) =>
  (['off', 'adaptive', 'busy'] as const).map((poll) => row(lun, 'randread', 1, { poll, quick: lun === 'file' })),
)

/** Each row beside its twin with the other kind of ring. */
const RINGS: readonly Case[] = (['null', 'memory', 'file'] as const).flatMap((lun) =>
  [1, 32].flatMap((qd) =>
    [false, true].flatMap((indirect) =>
      [false, true].map((packed) =>
        row(lun, 'randread', qd, { packed, indirect, quick: lun === 'null' && qd === 32 && indirect }),
      ),
    ),
  ),
)

/** The rows of a full run by what they are for. Some serve twice. */
export const ROW_SETS = { basic: BASIC, scaling: SCALING, polling: POLLING, rings: RINGS } as const

export type RowSet = keyof typeof ROW_SETS

export const isScaling = (c: Case): boolean => c.queues === QUEUES
export const isPolling = (c: Case): boolean =>
  c.queues === 1 && c.qd === 1 && c.op === 'randread' && !c.indirect && !c.packed

/** The rows of some sets in order, each once. */
export function selectCases(sets: readonly RowSet[], luns: readonly string[] | undefined, quick: boolean): Case[] {
  const cases = new Map<string, Case>()
  for (const set of sets) {
    for (const c of ROW_SETS[set]) {
      if (luns !== undefined && !luns.includes(c.lun)) continue
      if (quick && !c.quick) continue
      cases.set(JSON.stringify({ ...c, quick: undefined }), c)
    }
  }
  return [...cases.values()]
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
}

export function spread(values: readonly number[]): number {
  return (Math.max(...values) - Math.min(...values)) / median(values)
}
