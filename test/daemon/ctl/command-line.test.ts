import t from 'tap'
import { parseCtlCommandLine } from '../../../daemon/ctl/command-line.js'
import { COMMANDS } from '../../../daemon/ctl/commands.js'
import { daemonVersion } from '../../../daemon/version.js'

const SOCKET = '--control-socket=c.sock'

function parse(...args: string[]) {
  return parseCtlCommandLine(args, {})
}

function text(...args: string[]): string {
  const request = parse(...args)
  return request.kind === 'print' ? request.text : ''
}

t.test('a command and the socket', (t) => {
  t.match(parse(SOCKET, 'status'), { kind: 'run', name: 'status', socket: 'c.sock', json: false })
  t.match(parse('status', '--control-socket', 'c.sock', '--json'), { name: 'status', socket: 'c.sock', json: true })
  const environment = { VHOST_USER_SCSID_CONTROL_SOCKET: 'e.sock', VHOST_USER_SCSID_SOCKET_PATH: 'x' }
  t.match(parseCtlCommandLine(['luns'], environment), { name: 'luns', socket: 'e.sock' })
  t.match(parseCtlCommandLine(['luns', SOCKET], environment), { socket: 'c.sock' }, 'what is given wins')
  t.match(parse(SOCKET, 'queue-attach', 'vm', '0,2-5', 'io1'), { name: 'queue-attach' })
  t.match(parse(SOCKET, 'iothread-add', '--id=x', '--cpus=0-3+6', '--poll-max-ns', '0'), { name: 'iothread-add' })
  t.end()
})

t.test('usage faults', (t) => {
  const cases: [string[], string | RegExp][] = [
    [[], 'expected a command; see ctl --help'],
    [['top'], /^unknown command "top", expected status, stop, iothreads, .* or lun-detach$/],
    [['constructor'], /^unknown command "constructor"/],
    [['top', '--help'], /^unknown command "top"/],
    [['status', 'x'], 'Unknown argument: x; see ctl --help'],
    [['status', '--id=x'], 'Unknown argument: id; see ctl --help'],
    [['queue-attach', 'vm', '0'], /^Not enough non-option arguments: got 2, need at least 3/],
    [['iothread-add', '--cpus'], /^Not enough arguments following: cpus/],
    [['iothread-add', '--cpus=x'], '--cpus: expected CPU numbers such as 0-3+6, up to 1023, got "x"'],
    [['iothread-add', '--id=a/b'], /^--id: expected a name of at most 64/],
    [['iothread-add', '--poll-grow=-1'], '--poll-grow: expected a whole number from 0 to 1024, got "-1"'],
    [['iothread-add', '--id=a', '--id=b'], '--id is given 2 times'],
    [['queue-attach', 'vm', '5-2', 'io0'], 'QUEUES: expected all, or request queues such as 0,2-5, got "5-2"'],
    [['queue-attach', 'vm', '254', 'io0'], /^QUEUES: expected/],
    [['queue-worker', 'vm', '0,1'], 'QUEUE: expected a request queue from 0 to 253, got "0,1"'],
    [['queue-worker', 'vm', 'all'], /^QUEUE: expected/],
    [['status', SOCKET], '--control-socket is given 2 times'],
  ]
  for (const [args, message] of cases) {
    t.throws(() => parse(SOCKET, ...args), { code: /^VUS_(USAGE|CONFIG)$/, message }, args.join(' '))
  }
  t.throws(() => parse('status'), { code: 'VUS_USAGE', message: /^expected --control-socket=PATH or VHOST_USER_/ })
  t.throws(() => parse('status', '--control-socket='), {
    code: 'VUS_USAGE',
    message: /^expected --control-socket=PATH/,
  })
  t.throws(() => parse('status', `--control-socket=${'c'.repeat(108)}`), {
    code: 'VUS_USAGE',
    message: /the socket path has 108 bytes, the limit is 107$/,
  })
  t.end()
})

t.test('help and version', (t) => {
  t.equal(text('--version'), `${daemonVersion()}\n`)
  const help = text('--help')
  for (const word of [...Object.keys(COMMANDS), '--control-socket', '--json', 'Exit status']) {
    t.ok(help.includes(word), word)
  }
  for (const [name, { words, options, describe }] of Object.entries(COMMANDS)) {
    const own = text(name, '--help')
    for (const word of [name, describe, ...Object.keys(words), ...Object.keys(options), '--json']) {
      t.ok(own.includes(word), `${name}: ${word}`)
    }
  }
  t.end()
})
