import fc from 'fast-check'
import t from 'tap'
import { escapeValue, parseKeyValue } from '../../daemon/key-value.js'

t.test('pairs', (t) => {
  t.strictSame(parseKeyValue('path=/a,size=1G', '--lun'), { path: '/a', size: '1G' })
  t.strictSame(parseKeyValue('a=b=c', '--lun'), { a: 'b=c' }, 'the first = ends the key')
  t.strictSame(parseKeyValue('a=', '--lun'), { a: '' })
  t.end()
})

t.test(',, is a comma', (t) => {
  t.strictSame(parseKeyValue('path=/a,,b,size=1', '--lun'), { path: '/a,b', size: '1' })
  t.strictSame(parseKeyValue('a=,,,,,b=,,', '--lun'), { a: ',,', b: ',' })
  t.end()
})

t.test('what is no pair is refused', (t) => {
  const cases: [string, string][] = [
    ['', '--lun: expected KEY=VALUE, got ""'],
    ['disk.img', '--lun: expected KEY=VALUE, got "disk.img"'],
    ['a=1,', '--lun: expected KEY=VALUE, got ""'],
    ['a=1,b', '--lun: expected KEY=VALUE, got "b"'],
    ['=1', '--lun: expected KEY=VALUE, got "=1"'],
    ['a=1,b=2,a=3', '--lun: key "a" is given twice'],
    ['__proto__=1,__proto__=2', '--lun: key "__proto__" is given twice'],
  ]
  for (const [text, message] of cases)
    t.throws(() => parseKeyValue(text, '--lun'), { code: 'VUS_USAGE', message }, text)
  t.end()
})

t.test('no key touches a prototype', (t) => {
  t.strictSame(Object.keys(parseKeyValue('__proto__=x', '--lun')), ['__proto__'])
  t.end()
})

t.test('property: what is escaped comes back', (t) => {
  const keys = fc.stringMatching(/^[a-z][a-z-]{0,10}$/)
  fc.assert(
    fc.property(fc.dictionary(keys, fc.string(), { minKeys: 1, noNullPrototype: true }), (values) => {
      const text = Object.entries(values)
        .map(([key, value]) => `${key}=${escapeValue(value)}`)
        .join(',')
      t.strictSame(parseKeyValue(text, '--lun'), values)
    }),
  )
  t.end()
})
