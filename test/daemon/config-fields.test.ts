import t from 'tap'
import type { z } from 'zod'
import * as field from '../../daemon/config-fields.js'

/** What a value stands for, or the message that refuses it. */
function check(schema: z.ZodType, value: unknown): unknown {
  const result = schema.safeParse(value)
  return result.success ? result.data : `! ${result.error.issues.map(({ message }) => message).join('; ')}`
}

t.test('whole numbers', (t) => {
  const schema = field.wholeNumber(1, 254)
  const refused = '! expected a whole number from 1 to 254'
  t.equal(check(schema, 1), 1)
  t.equal(check(schema, '254'), 254)
  for (const value of [0, 255, '0', '255', 1.5, '1.5', '-1', '', ' 1', '0x10', '1e2', null, true, [], '9'.repeat(17)]) {
    t.equal(check(schema, value), refused, JSON.stringify(value))
  }
  t.end()
})

t.test('seconds', (t) => {
  const schema = field.seconds(3600)
  t.equal(check(schema, '10'), 10)
  t.equal(check(schema, '0.5'), 0.5)
  t.equal(check(schema, 0), 0)
  for (const value of ['-1', 3601, '3601', '', '1s', Number.POSITIVE_INFINITY, Number.NaN, '.5']) {
    t.equal(check(schema, value), '! expected a number of seconds from 0 to 3600', String(value))
  }
  t.end()
})

t.test('on and off', (t) => {
  t.equal(check(field.onOff(), 'on'), true)
  t.equal(check(field.onOff(), 'off'), false)
  t.equal(check(field.onOff(), true), true)
  for (const value of ['', 'yes', 'ON', 1, null]) {
    t.equal(check(field.onOff(), value), '! expected on or off', JSON.stringify(value))
  }
  t.end()
})

t.test('sizes', (t) => {
  const cases: [unknown, number][] = [
    [4096, 4096],
    ['4096', 4096],
    ['1K', 1024],
    ['512M', 512 * 2 ** 20],
    ['1g', 2 ** 30],
    ['2T', 2 * 2 ** 40],
    ['7P', 7 * 2 ** 50],
  ]
  for (const [value, size] of cases) t.equal(check(field.size(), value), size, String(value))
  for (const value of [0, '0', -1, '-1', '1.5G', '1GiB', 'G', '', '8P', '9007199254740992', 1.5, null]) {
    t.match(check(field.size(), value), /^! expected a size in bytes/, JSON.stringify(value))
  }
  t.end()
})

t.test('a choice of numbers, as number and as text', (t) => {
  const schema = field.oneOfNumbers([512, 4096])
  t.equal(check(schema, 512), 512)
  t.equal(check(schema, '4096'), 4096)
  for (const value of [513, '513', '', null])
    t.equal(check(schema, value), '! expected 512 or 4096', JSON.stringify(value))
  t.end()
})

t.test('printable text', (t) => {
  const schema = field.printable(4)
  for (const value of ['a', 'a b', '~!"#']) t.equal(check(schema, value), value)
  for (const value of ['', ' a', 'abcde', 'a\n', 'ä', 5]) {
    t.equal(check(schema, value), '! expected 1 to 4 printable ASCII characters', JSON.stringify(value))
  }
  t.end()
})

t.test('names', (t) => {
  for (const value of ['io0', 'a.b-c_d', '0', 'x'.repeat(64)]) t.equal(check(field.name(), value), value)
  for (const value of ['', '-a', 'a b', 'a"', 'x'.repeat(65), 'ä', 1]) {
    t.match(check(field.name(), value), /^! expected a name/, JSON.stringify(value))
  }
  t.end()
})

t.test('what this version lacks', (t) => {
  t.equal(check(field.unsupported(), 'x'), '! is not supported by this version')
  t.equal(check(field.offOnly(), 'off'), false)
  t.equal(check(field.offOnly(), 'on'), '! =on is not supported by this version')
  t.equal(check(field.offOnly(), 'x'), '! expected on or off')
  const schema = field.oneOfSupported(['report', 'stop'], ['report'])
  t.equal(check(schema, 'report'), 'report')
  t.equal(check(schema, 'stop'), '! =stop is not supported by this version')
  t.equal(check(schema, 'x'), '! expected report or stop')
  t.end()
})

t.test('words of a list', (t) => {
  t.equal(field.listWords(['a']), 'a')
  t.equal(field.listWords(['a', 'b', 'c']), 'a, b or c')
  t.end()
})
