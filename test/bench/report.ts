import type { Idle } from './idle.js'
import type { Moves } from './moves.js'
import type { Row } from './row.js'
import { type Column, markdownTable } from './table.js'

/** The JSON of a run: what checks and plots read. */
export interface Report {
  readonly node: string
  readonly cpus: number
  readonly kernel: string
  readonly fio: string | null
  /** Load average of the last minute at the start. */
  readonly load: number
  /** Whether back end and driver had a CPU each. */
  readonly pinned: boolean
  readonly rows: readonly Row[]
  readonly moves: readonly Moves[]
  /** null: not measured. */
  readonly idle: Idle | null
}

const COLUMNS: readonly Column<Row>[] = [
  ['LUN', (r) => r.lun],
  ['op', (r) => r.op],
  ['bs', (r) => size(r.bs)],
  ['QD', (r) => String(r.qd)],
  ['queues', (r) => String(r.queues)],
  ['IOThreads', (r) => String(r.iothreads)],
  ['poll', (r) => r.poll],
  ['ring', (r) => (r.packed ? 'packed' : 'split')],
  ['k IOPS', (r) => thousands(r.iops)],
  ['spread', (r) => percent(r.spread)],
  ['p50 us', (r) => r.p50_us.toFixed(1)],
  ['p99 us', (r) => r.p99_us.toFixed(1)],
  ['kicks', (r) => r.kicks_per_request.toFixed(3)],
  ['heap B', (r) => r.heap_bytes_per_request.toFixed(2)],
  ['ring ns', (r) => r.ring_round_trip_ns.join(' / ')],
  ['CPU', (r) => (r.cpu === null ? '' : r.cpu.toFixed(2))],
  ['reference', (r) => (r.ref === null ? '' : r.ref_setup === undefined ? r.ref : `${r.ref} ${r.ref_setup}`)],
  ['its k IOPS', (r) => (r.ref_iops === null ? '' : thousands(r.ref_iops))],
  ['ratio', (r) => (r.ratio === null ? '' : r.ratio.toFixed(2))],
]

/** The rows as a Markdown table. */
export function markdown(rows: readonly Row[]): string {
  return markdownTable(COLUMNS, rows)
}

function size(bytes: number): string {
  return bytes % 1024 === 0 ? `${bytes / 1024}k` : String(bytes)
}

function thousands(n: number): string {
  return (n / 1000).toFixed(n < 100_000 ? 1 : 0)
}

function percent(fraction: number): string {
  return `${(fraction * 100).toFixed(0)} %`
}
