import t from 'tap'
import { pollingConditions, pollingTable } from './polling.js'
import { ROW_SETS } from './row.js'
import { rowsOn } from './rows-on.js'

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

t.test('where that was', async (t) => {
  t.match(
    pollingConditions(rowsOn([2, 5, 6], ROW_SETS.polling)),
    'polls on CPU 5; the daemon, with one IOThread, is on CPU 2.',
  )
  t.match(pollingConditions(rowsOn([3], ROW_SETS.polling)), 'shares the only CPU')
  t.equal(pollingConditions(rowsOn([0, 1])), '')
})
