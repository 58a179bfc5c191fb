import { isPolling, type Row } from './row.js'
import { grouped, markdownTable } from './table.js'

/** What one request at a time costs, by how the IOThread waits for it. */
export function pollingTable(rows: readonly Row[]): string {
  return markdownTable<Row>(
    [
      ['LUN', (r) => r.lun],
      ['polling', (r) => r.poll],
      ['IOPS', (r) => grouped(r.iops)],
      ['p50 us', (r) => r.p50_us.toFixed(1)],
      ['p99 us', (r) => r.p99_us.toFixed(1)],
      ['CPU of the IOThread', (r) => r.iothread_cpu?.toFixed(2) ?? ''],
      ['kicks a request', (r) => r.kicks_per_request.toFixed(3)],
    ],
    rows.filter(isPolling),
  )
}
