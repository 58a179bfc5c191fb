import t from 'tap'
import { parseCpuList } from '../../daemon/cpu-list.js'

t.test('CPU lists', (t) => {
  t.strictSame(parseCpuList('0'), [0])
  t.strictSame(parseCpuList('0-3+6'), [0, 1, 2, 3, 6])
  t.strictSame(parseCpuList('6+1-2+2'), [1, 2, 6], 'sorted, without repetition')
  t.strictSame(parseCpuList('1023'), [1023])
  t.end()
})

t.test('what is none', (t) => {
  for (const text of ['', '+', '1+', '3-1', '1-', '-1', 'a', '1024', '0-1024', '1,2', ' 1', '0-99999999999']) {
    t.equal(parseCpuList(text), undefined, JSON.stringify(text))
  }
  t.end()
})
