import t from 'tap'
import { z } from 'zod'
import { createApp, MAX_BODY_BYTES } from '../../../daemon/control/app.js'
import * as schemas from '../../../daemon/control/schemas.js'
import { ControlError, REFUSALS, type RefusalCode } from '../../../daemon/control/target.js'
import type { Log } from '../../../daemon/log.js'
import { FakeControlTarget } from '../../support/control-target.js'

function api() {
  const target = new FakeControlTarget()
  const logged: { level: string; fields: Record<string, unknown>; text: string }[] = []
  const log = Object.fromEntries(
    ['debug', 'error'].map((level) => [
      level,
      (fields: Record<string, unknown>, text: string) => logged.push({ level, fields, text }),
    ]),
  ) as unknown as Log
  const app = createApp(target, log)
  const ask = async (method: string, path: string, body?: unknown, headers: Record<string, string> = {}) => {
    const type = { 'content-type': 'application/json' }
    const response = await app.request(path, {
      method,
      headers: body === undefined ? headers : { ...type, ...headers },
      ...(body !== undefined && { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    })
    const text = await response.text()
    return {
      status: response.status,
      headers: response.headers,
      text,
      json: text === '' ? undefined : JSON.parse(text),
    }
  }
  return { target, logged, ask }
}

t.test('what there is', async (t) => {
  const { target, ask, logged } = api()
  const cases: [string, unknown, z.ZodType][] = [
    ['/v1/status', target.status(), schemas.statusSchema],
    ['/v1/iothreads', target.iothreads(), z.array(schemas.iothreadSchema)],
    ['/v1/iothreads/io1', target.iothreads()[1], schemas.iothreadSchema],
    ['/v1/queues', target.queues(), z.array(schemas.queueSchema)],
    ['/v1/controllers/vm/queues/2', target.queues()[2], schemas.queueSchema],
    ['/v1/luns', target.luns(), z.array(schemas.lunSchema)],
  ]
  for (const [path, expected, schema] of cases) {
    const answer = await ask('GET', path)
    t.match(answer, { status: 200 }, path)
    t.equal(answer.headers.get('content-type'), 'application/json', path)
    t.strictSame(answer.json, expected, path)
    t.strictSame(schema.parse(answer.json), expected, `${path} as documented`)
    t.match(await ask('HEAD', path), { status: 200, text: '' }, `HEAD ${path}`)
  }
  t.match(await ask('GET', '/openapi.json'), { status: 200, json: { openapi: '3.1.0' } })
  t.strictSame(target.calls, [], 'looking changes nothing')
  t.strictSame(
    logged.filter(({ text }) => !text.startsWith('control: HEAD')),
    [],
    'nor is it logged',
  )
})

t.test('IOThreads come and go', async (t) => {
  const { target, ask, logged } = api()
  const settings = { id: 'fast', cpus: [1, 3], 'poll-max-ns': 0 }
  t.match(await ask('POST', '/v1/iothreads', settings), { status: 201, json: { ...settings, origin: 'control' } })
  t.match(await ask('POST', '/v1/iothreads', {}), { status: 201, json: { id: 'io3', cpus: null } })
  t.match(await ask('POST', '/v1/iothreads', { id: 'fast' }), { status: 409, json: { error: { code: 'EEXIST' } } })
  t.match(await ask('DELETE', '/v1/iothreads/io3'), { status: 204, text: '' })
  t.strictSame(await ask('DELETE', '/v1/iothreads/io0').then(({ status, json }) => [status, json]), [
    409,
    { error: { code: 'EBUSY', message: 'IOThread "io0" serves 2 queues' } },
  ])
  for (const method of ['GET', 'DELETE']) {
    t.match(await ask(method, '/v1/iothreads/io3'), { status: 404, json: { error: { code: 'ENODEV' } } })
  }
  t.strictSame(target.calls, [
    'addIothread {"id":"fast","cpus":[1,3],"poll-max-ns":0}',
    'addIothread {}',
    'addIothread {"id":"fast"}',
    'freeIothread io3',
    'freeIothread io0',
    'freeIothread io3',
  ])
  t.match(
    logged[0],
    { level: 'debug', fields: { status: 201 }, text: 'control: POST /v1/iothreads' },
    'changes are logged',
  )
})

t.test('queues are attached', async (t) => {
  const { ask } = api()
  const attach = (path: string, iothread: string) => ask('PUT', `/v1/controllers/${path}`, { iothread })
  t.match(await attach('vm/queues/0', 'io1'), {
    status: 200,
    json: { controller: 'vm', queue: 0, from: 'io0', to: 'io1', 'pause-ns': 123456 },
  })
  t.match(await ask('GET', '/v1/controllers/vm/queues/0'), { json: { iothread: 'io1' } })
  const refused: [string, string, string][] = [
    ['x/queues/0', 'io1', 'ENOENT'],
    ['vm/queues/4', 'io1', 'ENOBUFS'],
    ['vm/queues/0', 'io9', 'ENODEV'],
  ]
  for (const [path, iothread, code] of refused) {
    t.match(await attach(path, iothread), { status: 404, json: { error: { code } } }, code)
  }
})

t.test('LUNs are looked after', async (t) => {
  const { target, ask } = api()
  t.match(await ask('POST', '/v1/luns/root/clear-fault'), { status: 204, text: '' })
  t.equal(target.luns()[0]!['write-fault'], false)
  const grown = await ask('POST', '/v1/luns/root/refresh')
  t.match(grown, { status: 200, json: { size: 21 * 2 ** 30, grown: true } })
  t.ok(schemas.lunSizeSchema.safeParse(grown.json).success)
  t.match(await ask('POST', '/v1/luns/scratch/refresh'), { status: 409, json: { error: { code: 'ENOTSUP' } } })
  for (const action of ['clear-fault', 'refresh']) {
    t.match(await ask('POST', `/v1/luns/x/${action}`), { status: 404, json: { error: { code: 'ENOENT' } } })
  }
})

t.test('LUNs come and go', async (t) => {
  const { target, ask } = api()
  const place = { id: 'root', target: 2, lun: 300, 'read-only': true }
  const attached = await ask('POST', '/v1/controllers/spare/luns', place)
  t.match(attached, { status: 201, json: { ...place, controller: 'spare' } })
  t.ok(schemas.lunPlaceSchema.safeParse(attached.json).success)
  t.match(await ask('POST', '/v1/controllers/spare/luns', { id: 'scratch' }), { status: 201, json: { target: 0 } })
  t.match(await ask('POST', '/v1/controllers/vm/luns', { id: 'root' }), {
    status: 409,
    json: { error: { code: 'EEXIST' } },
  })
  t.match(await ask('DELETE', '/v1/controllers/spare/luns/root'), { status: 204, text: '' })
  t.match(await ask('DELETE', '/v1/controllers/spare/luns/root'), { status: 404, json: { error: { code: 'ENOENT' } } })
  t.strictSame(target.calls, [
    `attachLun spare ${JSON.stringify(place)}`,
    'attachLun spare {"id":"scratch"}',
    'attachLun vm {"id":"root"}',
    'detachLun spare root',
    'detachLun spare root',
  ])
  for (const [body, message] of [
    [{}, 'body: id: missing, expected a name'],
    [{ id: 'root', target: 256 }, 'body: target: expected a whole number from 0 to 255, got 256'],
    [{ id: 'root', lun: 16384 }, 'body: lun: expected a whole number from 0 to 16383, got 16384'],
    [{ id: 'root', 'read-only': 'on' }, 'body: read-only: expected true or false, got "on"'],
    [{ id: 'root', wwn: '1' }, 'body: unknown key "wwn", expected one of id, target, lun, read-only'],
  ] as const) {
    const { status, json } = await ask('POST', '/v1/controllers/spare/luns', body)
    t.equal(status, 400)
    t.ok(json.error.message.startsWith(message), json.error.message)
  }
})

t.test('bad requests', async (t) => {
  const { target, ask } = api()
  const iothreads: [unknown, string][] = [
    [[], 'body: expected an object, got []'],
    ['null', 'body: expected an object, got null'],
    [{ name: 'x' }, 'body: unknown key "name", expected one of id, cpus, poll-max-ns, poll-grow, poll-shrink'],
    [{ id: '' }, `body: id: expected a name of at most 64 letters, digits, '.', '_' and '-', got ""`],
    [{ id: 'a/b' }, /^body: id: expected a name .* got "a\/b"$/],
    [{ cpus: [] }, 'body: cpus: expected a list of CPU numbers, got []'],
    [{ cpus: [-1] }, 'body: cpus[0]: expected a whole number from 0 to 1023, got -1'],
    [{ cpus: '0-3' }, 'body: cpus: expected a list of CPU numbers, got "0-3"'],
    [{ 'poll-max-ns': '1' }, 'body: poll-max-ns: expected a whole number from 0 to 1000000000, got "1"'],
    [
      { 'poll-grow': 1.5, 'poll-shrink': 1025 },
      'body: poll-grow: expected a whole number from 0 to 1024, got 1.5; body: poll-shrink: expected a whole number from 0 to 1024, got 1025',
    ],
  ] as [unknown, string][]
  for (const [body, message] of iothreads) {
    const answer = await ask('POST', '/v1/iothreads', body)
    t.match(answer, { status: 400, json: { error: { code: 'EINVAL', message } } }, JSON.stringify(body))
  }
  for (const body of [undefined, {}, { iothread: 5 }, { iothread: '' }, { iothread: 'io1', queue: 1 }]) {
    const answer = await ask('PUT', '/v1/controllers/vm/queues/0', body)
    t.match(answer, { status: 400, json: { error: { code: 'EINVAL' } } }, JSON.stringify(body))
  }
  for (const n of ['x', '-1', '1.5', '0x1', '1e1', '9'.repeat(10), '%20']) {
    const answer = await ask('GET', `/v1/controllers/vm/queues/${n}`)
    t.match(answer, {
      status: 400,
      json: { error: { code: 'EINVAL', message: /^path: n: expected the number of a request queue, got "/ } },
    })
  }
  for (const body of ['', '{', '{"id":"a"', 'id=a']) {
    const answer = await ask('POST', '/v1/iothreads', body)
    t.match(answer, { status: 400, json: { error: { code: 'VUS_BODY' } } }, body)
  }
  t.match(await ask('POST', '/v1/iothreads', '{}', { 'content-type': 'text/plain' }), {
    status: 415,
    json: { error: { code: 'VUS_MEDIA_TYPE' } },
  })
  t.match(await ask('POST', '/v1/iothreads', '{}', { 'content-length': `${MAX_BODY_BYTES + 1}` }), {
    status: 413,
    json: { error: { code: 'VUS_BODY', message: `a body may have ${MAX_BODY_BYTES} bytes` } },
  })
  t.match(await ask('POST', '/v1/iothreads', '{}', { 'transfer-encoding': 'chunked' }), {
    status: 411,
    json: { error: { code: 'VUS_BODY' } },
  })
  t.strictSame(target.calls, [], 'none of them reaches the daemon')
})

t.test('paths and methods that are not there', async (t) => {
  const { target, ask } = api()
  for (const path of ['/', '/v1', '/v1/', '/v2/status', '/v1/status/', '/v1/iothreads/a/b', '/v1/luns/root', '/%00']) {
    t.match(await ask('GET', path), { status: 404, json: { error: { code: 'VUS_NOT_FOUND' } } }, path)
  }
  const wrong: [string, string, string][] = [
    ['POST', '/v1/status', 'GET, HEAD'],
    ['PUT', '/v1/iothreads', 'GET, HEAD, POST'],
    ['POST', '/v1/iothreads/io0', 'GET, HEAD, DELETE'],
    ['DELETE', '/v1/controllers/vm/queues/0', 'GET, HEAD, PUT'],
    ['GET', '/v1/luns/root/clear-fault', 'POST'],
    ['OPTIONS', '/v1/luns/root/refresh', 'POST'],
    ['PATCH', '/openapi.json', 'GET, HEAD'],
  ]
  for (const [method, path, allow] of wrong) {
    const answer = await ask(method, path)
    t.match(answer, { status: 405, json: { error: { code: 'VUS_METHOD' } } }, `${method} ${path}`)
    t.equal(answer.headers.get('allow'), allow, `${method} ${path}`)
  }
  t.strictSame(target.calls, [])
})

t.test('every refusal has its status', async (t) => {
  const { target, ask } = api()
  for (const [code, status] of Object.entries(REFUSALS)) {
    target.failure = new ControlError(code as RefusalCode, 'because')
    t.match(await ask('DELETE', '/v1/iothreads/io0'), { status, json: { error: { code, message: 'because' } } }, code)
  }
})

t.test('a fault of the daemon is logged, and not told', async (t) => {
  const { target, ask, logged } = api()
  const failures = [new Error('secret'), Object.assign(new Error('secret'), { code: 'EBUSY' })]
  for (const failure of failures) {
    target.failure = failure
    const answer = await ask('DELETE', '/v1/iothreads/io0')
    t.match(answer, { status: 500, json: { error: { code: 'VUS_INTERNAL' } } })
    t.notMatch(answer.text, /secret/)
  }
  t.equal(logged.filter(({ level }) => level === 'error').length, failures.length)
  target.status = () => {
    throw new Error('secret')
  }
  t.match(await ask('GET', '/v1/status'), { status: 500 })
})

t.test('changes of IOThreads are made one at a time', async (t) => {
  const { target, ask } = api()
  let go = () => {}
  target.hold = new Promise((resolve) => {
    go = resolve
  })
  const answers = [
    ask('POST', '/v1/iothreads', { id: 'a' }),
    ask('PUT', '/v1/controllers/vm/queues/0', { iothread: 'io1' }),
    ask('PUT', '/v1/controllers/vm/queues/2', { iothread: 'io1' }),
    ask('PUT', '/v1/controllers/vm/queues/2', { iothread: 'nobody' }),
    ask('PUT', '/v1/controllers/vm/queues/1', { iothread: 'io0' }),
  ]
  t.match(await ask('GET', '/v1/iothreads'), { status: 200 }, 'others need not wait')
  go()
  t.strictSame(
    (await Promise.all(answers)).map(({ status }) => status),
    [201, 200, 200, 404, 200],
    'a refused one holds up none',
  )
  t.equal(target.mostRunning, 1)
})
