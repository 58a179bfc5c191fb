import t from 'tap'
import { parseIothreadOption } from '../../daemon/iothread-option.js'

t.test('an IOThread from the command line', (t) => {
  t.strictSame(parseIothreadOption('id=io0'), { id: 'io0' })
  t.strictSame(parseIothreadOption('id=io1,cpus=0-3+6,poll-max-ns=32768,poll-grow=2,poll-shrink=0'), {
    id: 'io1',
    cpus: [0, 1, 2, 3, 6],
    'poll-max-ns': 32768,
    'poll-grow': 2,
    'poll-shrink': 0,
  })
  t.end()
})

t.test('faults name the option', (t) => {
  const cases: [string, string | RegExp][] = [
    ['io0', '--iothread=io0: expected KEY=VALUE, got "io0"'],
    ['cpus=0', /^--iothread=cpus=0: id: missing, expected a name/],
    ['id=a,cpus=9-1', '--iothread=id=a,cpus=9-1: cpus: expected CPU numbers such as 0-3+6, up to 1023, got "9-1"'],
    ['id=a,poll=1', /unknown key "poll", expected one of id, cpus, poll-max-ns, poll-grow, poll-shrink$/],
  ]
  for (const [text, message] of cases) t.throws(() => parseIothreadOption(text), { message }, text)
  t.end()
})
