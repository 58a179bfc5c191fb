import t from 'tap'
import { table } from '../../../daemon/ctl/table.js'

t.equal(
  table(
    ['NAME', 'COUNT', 'SIZE', 'PATH'],
    [
      ['a', 5, '-', '/x'],
      ['longer', 1000, 256, '-'],
    ],
  ),
  `NAME    COUNT  SIZE  PATH
a           5     -  /x
longer   1000   256  -
`,
)
t.equal(table(['A', 'B'], []), 'A  B\n', 'a heading alone')
t.equal(table(['LONG', 'B'], [['-', 'b']]), 'LONG  B\n-     b\n', 'nothing is no number')
t.equal(table(['A'], [['x\ny']]), 'A\nx\\ny\n', 'a row is a line, whatever is in it')
