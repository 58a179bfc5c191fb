import { isScaling, type Row } from './row.js'
import { grouped, markdownTable } from './table.js'

/** How IOPS grow with the number of IOThreads, one group of lines for each LUN and depth, as the rows come. */
export function scalingTable(rows: readonly Row[]): string {
  const scaling = rows.filter(isScaling)
  const alone = (row: Row): Row | undefined =>
    scaling.find((each) => each.iothreads === 1 && each.lun === row.lun && each.qd === row.qd)
  return markdownTable<Row>(
    [
      ['LUN', (r) => r.lun],
      ['QD of each queue', (r) => String(r.qd / r.queues)],
      ['IOThreads', (r) => String(r.iothreads)],
      ['IOPS', (r) => grouped(r.iops)],
      ['against 1 IOThread', (r) => ratio(r.iops, alone(r)?.iops)],
      ['CPU of the IOThreads', (r) => r.iothread_cpu?.toFixed(2) ?? ''],
    ],
    scaling,
  )
}

function ratio(iops: number, reference: number | undefined): string {
  return reference === undefined ? '' : (iops / reference).toFixed(2)
}

const list = (items: readonly (string | number)[]): string =>
  items.length < 2 ? items.join() : `${items.slice(0, -1).join(', ')} and ${items.at(-1)}`

/** What has to be known to read the table: who ran where, and which lines had too few CPUs. */
export function scalingConditions(rows: readonly Row[], cpus: number): string {
  const scaling = rows.filter(isScaling)
  const first = scaling[0]
  if (first === undefined) return ''
  const lines = [
    `randread, 4 KiB, ${first.queues} request queues, all of them kept at their depth by one front end that polls them in ` +
      'turn; IOThreads with the default polling. null-delay80 is synthetic: a null LUN whose requests take 80 us each.',
  ]
  if (first.back_end_cpus === null || first.front_end_cpu === null) {
    lines.push('This machine has 1 CPU: front end and daemon share it, and no line shows how IOThreads scale.')
    return lines.join('\n')
  }
  const counts = new Map(scaling.map((r) => [r.iothreads, r.back_end_cpus ?? []]))
  const placed = [...counts].map(
    ([iothreads, on]) => `${iothreads} IOThread${iothreads > 1 ? 's' : ''} on CPU ${list(on)}`,
  )
  lines.push(
    `This machine has ${cpus} CPUs. The front end takes one of them: its one thread is pinned to CPU ${first.front_end_cpu} and ` +
      `never sleeps. The daemon, all its threads together, is pinned to the others, one for each IOThread as far as they go: ${placed.join('; ')}.`,
  )
  const short = [...counts].filter(([iothreads, on]) => on.length < iothreads).map(([iothreads]) => iothreads)
  if (short.length > 0) {
    lines.push(
      `There are fewer CPUs than IOThreads and front end together with ${list(short)} IOThreads: those take turns on ` +
        `${cpus - 1} CPU${cpus > 2 ? 's' : ''}, so these lines show what it costs to share, not what more IOThreads gain.`,
    )
  }
  lines.push(
    "QEMU 10's series for comparison (fio with 4 jobs in a guest with 4 vCPUs): 189,576 IOPS with 1 IOThread, 312,698 (1.65) with 2, 346,744 (1.83) with 4.",
  )
  return lines.join('\n')
}
