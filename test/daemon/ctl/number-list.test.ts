import fc from 'fast-check'
import t from 'tap'
import { formatNumberList, parseNumberList } from '../../../daemon/ctl/number-list.js'

t.test('lists', (t) => {
  t.strictSame(parseNumberList('0', 253), [0])
  t.strictSame(parseNumberList('5,0,2-4,3', 253), [0, 2, 3, 4, 5])
  t.strictSame(parseNumberList('250-253', 253), [250, 251, 252, 253])
  for (const text of ['', ',', '1,', '-1', '1-', '2-1', 'all', '0x1', '1.5', ' 1', '0,254', '0-999999999', '1+2']) {
    t.equal(parseNumberList(text, 253), undefined, text)
  }
  t.equal(formatNumberList([0, 1, 2, 4, 6, 7]), '0-2,4,6-7')
  t.equal(formatNumberList([0, 1, 6], '+'), '0-1+6')
  t.equal(formatNumberList([]), '')
  t.end()
})

t.test('what is written is read back', (t) => {
  const lists = fc.uniqueArray(fc.nat(300), { minLength: 1 }).map((list) => list.sort((a, b) => a - b))
  fc.assert(
    fc.property(lists, (list) => JSON.stringify(parseNumberList(formatNumberList(list), 300)) === JSON.stringify(list)),
  )
  t.end()
})
