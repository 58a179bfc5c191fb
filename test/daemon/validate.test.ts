import t from 'tap'
import { z } from 'zod'
import { unsupported, wholeNumber } from '../../daemon/config-fields.js'
import { ConfigError } from '../../daemon/errors.js'
import { validate } from '../../daemon/validate.js'

const schema = z.strictObject({
  lists: z.array(z.strictObject({ size: wholeNumber(0, 9), gone: unsupported().optional() })).optional(),
  any: z.unknown().optional(),
})

function faults(value: unknown): readonly string[] {
  try {
    validate(schema, value, 'f.json')
    return []
  } catch (error) {
    if (error instanceof ConfigError) return error.faults
    throw error
  }
}

t.test('a value that fits is what it stands for', (t) => {
  t.strictSame(validate(schema, { lists: [{ size: '5' }] }, ''), { lists: [{ size: 5 }] })
  t.end()
})

t.test('faults say where, what, and what was expected', (t) => {
  t.strictSame(faults({ lists: [{ size: 1 }, { size: 10 }] }), [
    'f.json: lists[1].size: expected a whole number from 0 to 9, got 10',
  ])
  t.strictSame(faults({ lists: [{}] }), ['f.json: lists[0].size: missing, expected a whole number from 0 to 9'])
  t.strictSame(faults({ lists: [{ size: 1, sizes: 2 }], x: 1 }), [
    'f.json: lists[0]: unknown key "sizes", expected one of size',
    'f.json: unknown key "x", expected one of lists, any',
  ])
  t.strictSame(faults({ lists: [{ size: 1, gone: 2 }] }), ['f.json: lists[0].gone is not supported by this version'])
  t.strictSame(faults([]), ['f.json: expected an object, got []'])
  t.strictSame(faults({ lists: [3] }), ['f.json: lists[0]: expected an object, got 3'])
  t.end()
})

t.test('long values are cut', (t) => {
  const [fault] = faults({ lists: [{ size: 'x'.repeat(1000) }] })
  t.ok(fault!.length < 200)
  t.match(fault, /\.\.\.$/)
  t.end()
})
