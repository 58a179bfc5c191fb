import { constants } from 'node:os'
import t from 'tap'
import { ControlError, REFUSALS } from '../../../daemon/control/target.js'

t.test('refusals are named by errnos', (t) => {
  for (const [code, status] of Object.entries(REFUSALS)) {
    t.ok(code === 'ESHUTDOWN' || Object.hasOwn(constants.errno, code), code)
    t.ok(status >= 400 && status < 600, code)
  }
  t.end()
})

t.test('an error says what and why', (t) => {
  const cause = new Error('x')
  const error = new ControlError('EBUSY', 'it is busy', { cause })
  t.match(error, { name: 'ControlError', code: 'EBUSY', message: 'it is busy', cause })
  t.ok(error instanceof Error)
  t.end()
})
