import t from 'tap'
import { placement } from './placement.js'
import { pollingTable } from './polling.js'
import { ROW_SETS, type Row } from './row.js'
import { scalingConditions, scalingTable } from './scaling.js'

/** Rows of a machine with `cpus`, in which k IOThreads reach 1000 * k^2 IOPS. */
function rowsOn(cpus: readonly number[], cases = ROW_SETS.scaling): Row[] {
  return cases.map((c) => {
    const { frontEnd, backEnd } = placement(cpus, c.iothreads)
    return {
      ...c,
      iops: 1000 * c.iothreads ** 2,
      p50_us: 1.26,
      p99_us: 9.94,
      spread: 0,
      runs: 5,
      kicks_per_request: 0.0004,
      cpu: 1,
      iothread_cpu: 0.5,
      back_end_cpus: backEnd,
      front_end_cpu: frontEnd,
      heap_bytes_per_request: 0,
      collections: 0,
      ring_round_trip_ns: [1, 1],
      ref: null,
      ref_iops: null,
      ratio: null,
    }
  })
}

t.test('each line against the one with 1 IOThread, of the same LUN and depth', async (t) => {
  const rows = rowsOn([0, 1]).filter(({ lun }) => lun !== 'null-delay80')
  // The file's first line is missing: there is nothing to compare with.
  const table = scalingTable(rows.filter((r) => r.lun === 'null' || r.iothreads > 1)).split('\n')
  t.strictSame(table.slice(2), [
    '| null | 1 | 1 | 1,000 | 1.00 | 0.50 |',
    '| null | 1 | 2 | 4,000 | 4.00 | 0.50 |',
    '| null | 1 | 4 | 16,000 | 16.00 | 0.50 |',
    '| null | 32 | 1 | 1,000 | 1.00 | 0.50 |',
    '| null | 32 | 2 | 4,000 | 4.00 | 0.50 |',
    '| null | 32 | 4 | 16,000 | 16.00 | 0.50 |',
    '| file | 1 | 2 | 4,000 |  | 0.50 |',
    '| file | 1 | 4 | 16,000 |  | 0.50 |',
    '| file | 32 | 2 | 4,000 |  | 0.50 |',
    '| file | 32 | 4 | 16,000 |  | 0.50 |',
  ])
})

t.test('what the machine had for it', async (t) => {
  const two = scalingConditions(rowsOn([0, 1]), 2)
  t.match(two, 'has 2 CPUs')
  t.match(two, 'pinned to CPU 1')
  t.match(two, '1 IOThread on CPU 0; 2 IOThreads on CPU 0; 4 IOThreads on CPU 0')
  t.match(two, /fewer CPUs than IOThreads and front end together with 2 and 4 IOThreads: .* 1 CPU,/)
  const four = scalingConditions(rowsOn([0, 1, 2, 3]), 4)
  t.match(four, '2 IOThreads on CPU 0 and 2; 4 IOThreads on CPU 0, 2 and 3')
  t.match(four, /fewer CPUs than IOThreads and front end together with 4 IOThreads: .* 3 CPUs,/)
  const five = scalingConditions(rowsOn([0, 1, 2, 3, 4]), 5)
  t.match(five, '4 IOThreads on CPU 0, 2, 3 and 4')
  t.notMatch(five, 'fewer CPUs')
  const one = scalingConditions(rowsOn([0]), 1)
  t.match(one, 'has 1 CPU: front end and daemon share it')
  t.equal(scalingConditions(rowsOn([0, 1], ROW_SETS.polling), 2), '')
})

t.test('one request at a time, by polling', async (t) => {
  const cases = ROW_SETS.polling.filter(({ lun }) => lun === 'file')
  t.strictSame(
    pollingTable([...rowsOn([0, 1]), ...rowsOn([0, 1], cases)])
      .split('\n')
      .slice(2),
    [
      '| file | off | 1,000 | 1.3 | 9.9 | 0.50 | 0.000 |',
      '| file | adaptive | 1,000 | 1.3 | 9.9 | 0.50 | 0.000 |',
      '| file | busy | 1,000 | 1.3 | 9.9 | 0.50 | 0.000 |',
    ],
  )
})
