import t from 'tap'
import { ConfigError, errorCode, errorReason, oneLine, StartError, UsageError } from '../../daemon/errors.js'

t.test('start errors carry a stable code', (t) => {
  t.match(new StartError('EACCES', 'x'), { code: 'EACCES', message: 'x' })
  t.match(new UsageError('x'), { code: 'VUS_USAGE', message: 'x' })
  t.ok(new UsageError('x') instanceof StartError)
  t.end()
})

t.test('a configuration error is its first fault and how many more there are', (t) => {
  t.match(new ConfigError(['a']), { code: 'VUS_CONFIG', message: /^a$/, faults: ['a'] })
  t.equal(new ConfigError(['a', 'b']).message, 'a (and 1 more fault)')
  t.equal(new ConfigError(['a', 'b', 'c']).message, 'a (and 2 more faults)')
  t.ok(new ConfigError(['a']) instanceof StartError)
  t.end()
})

t.test('code and reason of anything that is thrown', (t) => {
  t.equal(errorCode(Object.assign(new Error('x'), { code: 'ENOENT' })), 'ENOENT')
  t.equal(errorCode(new Error('x')), 'VUS_INTERNAL')
  t.equal(errorCode(null, 'other'), 'other')
  t.equal(errorCode({ code: 5 }, 'other'), 'other')
  t.equal(errorReason({ code: 'ENOENT' }), 'no such file or directory')
  t.equal(errorReason({ code: 'EXDEV' }), 'EXDEV', 'no better words')
  t.equal(errorReason(new Error('x')), 'x')
  t.equal(errorReason('text'), 'text')
  t.end()
})

t.test('one line stays one line', (t) => {
  t.equal(oneLine('/tmp/a\nb\tc\r\u001b[2J\u2028d'), '/tmp/a\\nb\\tc\\u000d\\u001b[2J\\u2028d')
  t.equal(oneLine('plain – text'), 'plain – text')
  t.end()
})
