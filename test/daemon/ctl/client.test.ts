import { createServer, type RequestListener } from 'node:http'
import { join } from 'node:path'
import t from 'tap'
import { z } from 'zod'
import { ControlClient } from '../../../daemon/ctl/client.js'
import type { Teardown } from '../../support/teardown.js'
import { tempDir } from '../../support/temp-dir.js'

const SCHEMA = z.object({ a: z.number() })

/** Something that listens and answers as the test says. */
async function listener(t: Teardown, listen: RequestListener): Promise<string> {
  const path = join(tempDir(t), 'x.sock')
  const server = createServer(listen)
  await new Promise<void>((done) => server.listen(path, done))
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  return path
}

function answering(t: Teardown, status: number, body: string): Promise<string> {
  return listener(t, (_request, response) => {
    response.statusCode = status
    response.end(body)
  })
}

t.test('questions and answers', async (t) => {
  const seen: unknown[] = []
  const path = await listener(t, (request, response) => {
    let body = ''
    request.setEncoding('utf8').on('data', (text: string) => {
      body += text
    })
    request.on('end', () => {
      seen.push([request.method, request.url, request.headers['content-type'], body])
      if (request.method === 'DELETE') response.statusCode = 204
      response.end(request.method === 'DELETE' ? '' : '{"a":1,"b":[2]}')
    })
  })
  const client = new ControlClient(path)
  t.strictSame(await client.ask(SCHEMA, 'GET', '/x'), { a: 1, b: [2] }, 'the answer as it is, what is new in it too')
  await client.ask(SCHEMA, 'PUT', '/y', { name: 'ü' })
  await client.tell('DELETE', '/z')
  t.strictSame(seen, [
    ['GET', '/x', undefined, ''],
    ['PUT', '/y', 'application/json', '{"name":"ü"}'],
    ['DELETE', '/z', undefined, ''],
  ])
})

t.test('refusals', async (t) => {
  const path = await answering(t, 409, '{"error":{"code":"EBUSY","message":"it serves"}}')
  const client = new ControlClient(path)
  const expected = { name: 'CtlError', code: 'EBUSY', message: 'it serves (EBUSY)' }
  await t.rejects(client.ask(SCHEMA, 'GET', '/x'), expected)
  await t.rejects(client.tell('DELETE', '/x'), expected)
})

t.test('who answers is somebody else', async (t) => {
  const cases: [number, string, RegExp][] = [
    [200, 'ready\n', /HTTP status 200 and no JSON: expected the control socket/],
    [404, 'not found', /HTTP status 404 and no JSON: expected/],
    [404, '{"message":"x"}', /: HTTP status 404: expected/],
    [200, '{"a":"x"}', /the answer to GET \/x is not of the form that this version knows: expected/],
  ]
  for (const [status, body, message] of cases) {
    const client = new ControlClient(await answering(t, status, body))
    await t.rejects(client.ask(SCHEMA, 'GET', '/x'), { name: 'CtlError', code: 'VUS_ANSWER', message })
  }
})

t.test('nobody answers', async (t) => {
  const nowhere = join(tempDir(t), 'x.sock')
  await t.rejects(new ControlClient(nowhere).tell('GET', '/'), {
    name: 'CtlError',
    code: 'ENOENT',
    message: `${nowhere}: there is no such socket: expected the control socket of a running daemon (the daemon's --control-socket)`,
  })
  await t.rejects(new ControlClient(import.meta.filename).tell('GET', '/'), {
    code: 'ECONNREFUSED',
    message: /nobody listens there/,
  })
  const silent = await listener(t, () => {})
  await t.rejects(new ControlClient(silent, 50).tell('GET', '/'), {
    code: 'ETIMEDOUT',
    message: `${silent}: no answer within 0.05 s`,
  })
  const cut = await listener(t, (request) => request.destroy())
  await t.rejects(new ControlClient(cut).tell('GET', '/'), { code: 'ECONNRESET', message: /the connection was cut/ })
  const half = await listener(t, (request, response) => {
    response.setHeader('Content-Length', 100)
    response.write('{', () => request.destroy())
  })
  await t.rejects(new ControlClient(half).ask(SCHEMA, 'GET', '/'), { name: 'CtlError', code: 'ECONNRESET' })
})
