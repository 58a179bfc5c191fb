import fc from 'fast-check'
import t from 'tap'
import { iothreadSchema } from '../../../daemon/config-schema.js'
import { attachSchema, newIothreadSchema, statusSchema } from '../../../daemon/control/schemas.js'
import { FakeControlTarget } from '../../support/control-target.js'

t.test('an IOThread that can be added could be configured, and the other way', (t) => {
  const number = fc.oneof(fc.integer({ min: -2, max: 1100 }), fc.constantFrom(1e9, 1e9 + 1, 0.5, Number.NaN))
  const settings = fc.record(
    {
      id: fc.oneof(fc.constantFrom('io0', '', 'a b', 'x'.repeat(64), 'x'.repeat(65)), fc.string()),
      cpus: fc.uniqueArray(number, { maxLength: 3 }).map((cpus) => cpus.sort((a, b) => a - b)),
      'poll-max-ns': number,
      'poll-grow': number,
      'poll-shrink': number,
    },
    { requiredKeys: ['id'] },
  )
  fc.assert(
    fc.property(settings, (value) => {
      const added = newIothreadSchema.safeParse(value)
      const configured = iothreadSchema.safeParse(value)
      return (
        added.success === configured.success &&
        (!added.success || JSON.stringify(added.data) === JSON.stringify(configured.data))
      )
    }),
  )
  t.ok(newIothreadSchema.safeParse({}).success, 'the name may be left to the daemon')
  t.end()
})

t.test('requests are strict, answers may grow', (t) => {
  t.notOk(attachSchema.safeParse({ iothread: 'io0', more: 1 }).success)
  t.notOk(newIothreadSchema.safeParse({ more: 1 }).success)
  const status = new FakeControlTarget().status()
  t.strictSame(statusSchema.parse({ ...status, more: 1 }), status)
  t.end()
})
