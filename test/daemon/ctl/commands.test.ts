import t from 'tap'
import * as routes from '../../../daemon/control/routes.js'
import type { ControlClient } from '../../../daemon/ctl/client.js'
import { type Arguments, COMMANDS } from '../../../daemon/ctl/commands.js'
import { CtlError } from '../../../daemon/ctl/errors.js'

/** What a command asks for first; nothing is answered. */
async function asked(name: string, args: Arguments): Promise<[string, string, unknown]> {
  const requests: [string, string, unknown][] = []
  const refuse = (method: string, path: string, body?: unknown): Promise<never> => {
    requests.push([method, path, body])
    return Promise.reject(new CtlError('EIO', 'no answer'))
  }
  const client = {
    ask: (_schema: unknown, method: string, path: string, body?: object) => refuse(method, path, body),
    tell: refuse,
  } as unknown as ControlClient
  await COMMANDS[name]!.prepare(args)(client).catch(() => {})
  return requests[0]!
}

t.test('each command and its request', async (t) => {
  const cases: [string, Arguments, string, string, unknown?][] = [
    ['status', {}, 'GET', '/v1/status'],
    ['stop', {}, 'POST', '/v1/stop'],
    ['iothreads', {}, 'GET', '/v1/iothreads'],
    ['queues', {}, 'GET', '/v1/queues'],
    ['luns', {}, 'GET', '/v1/luns'],
    ['iothread-add', { cpus: '1+0' }, 'POST', '/v1/iothreads', { cpus: [0, 1] }],
    ['iothread-free', { ID: 'a' }, 'DELETE', '/v1/iothreads/a'],
    [
      'queue-attach',
      { CONTROLLER: 'a b', QUEUES: '3', IOTHREAD: 'x' },
      'PUT',
      '/v1/controllers/a%20b/queues/3',
      { iothread: 'x' },
    ],
    ['queue-attach', { CONTROLLER: 'a', QUEUES: 'all', IOTHREAD: 'x' }, 'GET', '/v1/queues'],
    ['queue-worker', { CONTROLLER: 'a/b', QUEUE: '3' }, 'GET', '/v1/controllers/a%2Fb/queues/3'],
    ['lun-clear-fault', { ID: 'a?b' }, 'POST', '/v1/luns/a%3Fb/clear-fault'],
    ['lun-refresh', { ID: 'a' }, 'POST', '/v1/luns/a/refresh'],
    ['lun-attach', { CONTROLLER: 'a/b', ID: 'x' }, 'POST', '/v1/controllers/a%2Fb/luns', { id: 'x' }],
    [
      'lun-attach',
      { CONTROLLER: 'a', ID: 'x', target: '3', lun: '300', 'read-only': 'on' },
      'POST',
      '/v1/controllers/a/luns',
      { id: 'x', target: 3, lun: 300, 'read-only': true },
    ],
    ['lun-detach', { CONTROLLER: 'a b', ID: 'x/y' }, 'DELETE', '/v1/controllers/a%20b/luns/x%2Fy'],
  ]
  for (const [name, args, method, path, body] of cases) {
    t.strictSame(await asked(name, args), [method, path, body], name)
  }
  t.strictSame([...new Set(cases.map(([name]) => name))], Object.keys(COMMANDS), 'none is left out')
})

t.test('options are those of the configuration', (t) => {
  const { options } = COMMANDS['iothread-add']!
  const body = routes.addIothread.request.body.content['application/json'].schema
  t.strictSame(Object.keys(options), Object.keys(body.shape))
  const attachment = routes.attachLun.request.body.content['application/json'].schema
  t.strictSame(['id', ...Object.keys(COMMANDS['lun-attach']!.options)], Object.keys(attachment.shape))
  t.throws(() => COMMANDS['lun-attach']!.prepare({ CONTROLLER: 'a', ID: 'x', lun: '16384' }), {
    message: '--lun: expected a whole number from 0 to 16383, got "16384"',
  })
  t.end()
})
