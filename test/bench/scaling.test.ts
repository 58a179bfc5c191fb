import t from 'tap'
import { ROW_SETS } from './row.js'
import { rowsOn } from './rows-on.js'
import { scalingConditions, scalingTable } from './scaling.js'

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
