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

/** What has to be known to read the table. */
export function pollingConditions(rows: readonly Row[]): string {
  const first = rows.find(isPolling)
  if (first === undefined) return ''
  const { front_end_cpu: frontEnd, back_end_cpus: backEnd } = first
  const where =
    frontEnd === null || backEnd === null
      ? 'which shares the only CPU with the daemon'
      : `whose thread polls on CPU ${frontEnd}; the daemon, with one IOThread, is on CPU ${backEnd.join()}`
  return (
    `randread, 4 KiB, one request at a time from a front end ${where}. off: poll-max-ns=0; adaptive: the default; busy: ` +
    'poll-max-ns so large that the IOThread never sleeps. An IOThread that sleeps is late for the 80 us of null-delay80 ' +
    'by as much as the kernel lets its timers be.'
  )
}
