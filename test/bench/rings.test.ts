import t from 'tap'
import { ringsTable } from './rings.js'
import { ROW_SETS } from './row.js'
import { rowsOn } from './rows-on.js'

t.test('packed rings beside split ones', async (t) => {
  const rows = rowsOn(
    [0, 1],
    ROW_SETS.rings.filter(({ lun }) => lun === 'file'),
  ).map((row) => (row.packed ? { ...row, iops: 900 } : row))
  t.strictSame(
    ringsTable([...rowsOn([0, 1]), ...rows])
      .split('\n')
      .slice(2),
    [
      '| file | 1 | direct | 1,000 | 900 | 0.90 |',
      '| file | 1 | indirect | 1,000 | 900 | 0.90 |',
      '| file | 32 | direct | 1,000 | 900 | 0.90 |',
      '| file | 32 | indirect | 1,000 | 900 | 0.90 |',
    ],
  )
})

t.test('a row without its twin is left out', async (t) => {
  t.equal(
    ringsTable(
      rowsOn(
        [0, 1],
        ROW_SETS.rings.filter(({ packed }) => packed),
      ),
    ).split('\n').length,
    2,
  )
})
