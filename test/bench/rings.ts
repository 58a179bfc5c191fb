import type { Row } from './row.js'
import { grouped, markdownTable } from './table.js'

interface Twins {
  readonly split: Row
  readonly packed: Row
}

/** The rows that are there for both kinds of rings. */
function twins(rows: readonly Row[]): Twins[] {
  return rows.flatMap((packed) => {
    if (!packed.packed) return []
    const split = rows.find((row) => !row.packed && key(row) === key(packed))
    return split === undefined ? [] : [{ split, packed }]
  })
}

function key({ lun, op, bs, qd, queues, iothreads, poll, indirect }: Row): string {
  return [lun, op, bs, qd, queues, iothreads, poll, indirect].join()
}

/** What packed rings give, against split ones. */
export function ringsTable(rows: readonly Row[]): string {
  return markdownTable<Twins>(
    [
      ['LUN', ({ split }) => split.lun],
      ['QD', ({ split }) => String(split.qd)],
      ['chains', ({ split }) => (split.indirect ? 'indirect' : 'direct')],
      ['split, IOPS', ({ split }) => grouped(split.iops)],
      ['packed, IOPS', ({ packed }) => grouped(packed.iops)],
      ['packed / split', ({ split, packed }) => (packed.iops / split.iops).toFixed(2)],
    ],
    twins(rows),
  )
}
