import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { parseCommandLine } from '../../daemon/cli.js'
import type { DaemonConfig } from '../../daemon/daemon-config.js'
import { daemonVersion } from '../../daemon/version.js'
import { tempDir } from '../support/temp-dir.js'

function config(args: string[], environment: NodeJS.ProcessEnv = {}): DaemonConfig {
  const command = parseCommandLine(args, environment)
  if (command.kind !== 'serve') throw new Error(`not a configuration: ${command.text}`)
  return command.config
}

function text(args: string[]): string {
  const command = parseCommandLine(args, {})
  return command.kind === 'print' ? command.text : ''
}

t.test('serving is what happens without a command', (t) => {
  t.match(config([]), { luns: [{ driver: 'memory' }], controllers: [{ socketPath: './vhost-user-scsi.sock' }] })
  t.strictSame(config(['serve']), config([]))
  t.strictSame(config(['serve', '--num-queues=3']), config(['--num-queues', '3']))
  t.end()
})

t.test('flags, with = and without, in any number', (t) => {
  t.match(
    config([
      '--socket-path',
      'a.sock',
      '--lun=driver=null,id=a',
      '--lun',
      'driver=null,id=b,target=1',
      '--iothread=id=x',
      '--iothread=id=y,cpus=0-3+6',
      '--iothread-vq-mapping=[{"iothread":"x","vqs":[1]},{"iothread":"y","vqs":[0]}]',
      '--metrics-listen=127.0.0.1:0',
      '--control-socket=c.sock',
      '--stop-timeout=0.5',
      '--log-format=json',
    ]),
    {
      iothreads: [{ id: 'x' }, { id: 'y', cpus: [0, 1, 2, 3, 6] }],
      luns: [{ id: 'a' }, { id: 'b' }],
      controllers: [{ socketPath: 'a.sock', numQueues: 2, queueToIothread: [1, 0], luns: [{ lun: 0 }, { target: 1 }] }],
      metricsListen: { host: '127.0.0.1', port: 0 },
      controlSocket: 'c.sock',
      stopTimeoutSeconds: 0.5,
      logFormat: 'json',
    },
  )
  t.equal(config(['--worker-per-virtqueue', '--num-queues=2']).iothreads.length, 2)
  t.end()
})

t.test('usage faults', (t) => {
  const cases: [string[], string][] = [
    [['--bogus'], 'Unknown argument: bogus; see --help'],
    [['--bogus=1', '--bogus2'], 'Unknown arguments: bogus, bogus2; see --help'],
    [['bogus'], 'Unknown argument: bogus; see --help'],
    [['serve', 'bogus'], 'Unknown argument: bogus; see --help'],
    [['--', 'bogus'], 'Unknown argument: bogus; see --help'],
    [['-x'], 'Unknown argument: x; see --help'],
    [['--no-lun'], 'Unknown argument: no-lun; see --help'],
    [['--socketPath=a'], 'Unknown argument: socketPath; see --help'],
    [['--lun.id=a'], 'Unknown argument: lun.id; see --help'],
    [['--socket-path'], 'Not enough arguments following: socket-path; see --help'],
    [['--socket-path='], '--socket-path: expected the path of a socket, got ""'],
    [['--socket-path=a', '--socket-path=b'], '--socket-path is given 2 times'],
    [['--config=a', '--config=b'], '--config is given 2 times'],
    [['--socket-path=a', '--fd=3'], '--socket-path and --fd cannot be given at the same time'],
    [['--takeover', '--fd=3'], '--takeover and --fd cannot be given at the same time'],
    [['--takeover'], 'takeover: expected a control socket, the one of the daemon before'],
  ]
  for (const [args, message] of cases) t.throws(() => config(args), { message }, args.join(' '))
  t.end()
})

t.test('the environment comes second', (t) => {
  const environment = { VHOST_USER_SCSID_SOCKET_PATH: 'env.sock', VHOST_USER_SCSID_BOGUS: '1' }
  t.match(config([], environment).controllers, [{ socketPath: 'env.sock' }])
  t.match(config(['--socket-path=flag.sock'], environment).controllers, [{ socketPath: 'flag.sock' }])
  t.match(config(['--fd=3'], environment).controllers, [{ fd: 3, socketPath: undefined }])
  t.match(config([], { VHOST_USER_SCSID_LUN: 'driver=null,size=1M' }).luns, [{ driver: 'null', size: 2 ** 20 }])
  t.match(
    config(['--worker-per-virtqueue', '--num-queues=1'], { VHOST_USER_SCSID_IOTHREAD_VQ_MAPPING: 'x' }).iothreads,
    [{ id: 'controller0-vq0' }],
  )
  t.equal(config([], { VHOST_USER_SCSID_CONTROL_SOCKET: 'e.sock' }).controlSocket, 'e.sock')
  t.equal(config(['--num-queues=2'], { VHOST_USER_SCSID_WORKER_PER_VIRTQUEUE: 'on' }).iothreads.length, 2)
  t.match(config(['--takeover', '--control-socket=c'], { VHOST_USER_SCSID_FD: '3' }), { takeover: true })
  t.notOk('takeover' in config(['--fd=3'], { VHOST_USER_SCSID_TAKEOVER: 'on' }))
  t.end()
})

t.test('a config file, and flags beside it', (t) => {
  const path = join(tempDir(t), 'c.json')
  writeFileSync(
    path,
    JSON.stringify({
      luns: [{ id: 'a', driver: 'null' }],
      controllers: [{ id: 'vm', 'socket-path': 'file.sock', 'num-queues': 2 }],
    }),
  )
  t.match(config([`--config=${path}`, '--num-queues=1', '--lun=driver=null']), {
    luns: [{ id: 'a' }, { id: 'disk0' }],
    controllers: [{ id: 'vm', socketPath: 'file.sock', numQueues: 1 }],
  })
  t.throws(() => config(['--config=/nonexistent']), { message: '/nonexistent: no such file or directory' })
  t.end()
})

t.test('help and version are text', (t) => {
  const help = text(['--help'])
  for (const word of [
    '--socket-path',
    '--fd',
    '--lun',
    '--iothread-vq-mapping',
    '--takeover',
    '--print-capabilities',
  ]) {
    t.ok(help.includes(word), word)
  }
  t.equal(text(['--version']), `${daemonVersion()}\n`)
  t.equal(text(['--version', '--num-queues=999']), `${daemonVersion()}\n`)
  t.end()
})
