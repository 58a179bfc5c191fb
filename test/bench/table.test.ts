import t from 'tap'
import { grouped, markdownTable } from './table.js'

t.test('a table', async (t) => {
  const table = markdownTable<{ a: number }>(
    [
      ['twice', ({ a }) => String(2 * a)],
      ['name', ({ a }) => `n${a}`],
    ],
    [{ a: 1 }, { a: 20 }],
  )
  t.equal(table, '| twice | name |\n| --- | --- |\n| 2 | n1 |\n| 40 | n20 |')
})

t.test('numbers in groups', async (t) => {
  t.strictSame([0, 999, 1000.4, 346_744, 10_000_000].map(grouped), ['0', '999', '1,000', '346,744', '10,000,000'])
})
