import { once } from 'node:events'
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { MAX_BODY_BYTES } from '../../../daemon/control/app.js'
import { ControlServer, LIMITS } from '../../../daemon/control/server.js'
import type { Log } from '../../../daemon/log.js'
import { FakeControlTarget } from '../../support/control-target.js'
import { within } from '../../support/deadline.js'
import type { Teardown } from '../../support/teardown.js'
import { tempDir } from '../../support/temp-dir.js'
import { ask } from '../../support/unix-http.js'

const WAIT = 30_000
const LOG = { debug() {}, error() {} } as unknown as Log

async function serve(t: Teardown, limits = LIMITS) {
  const target = new FakeControlTarget()
  const path = join(tempDir(t), 'control.sock')
  const server = await ControlServer.listen(path, target, LOG, limits)
  t.teardown(() => server.close())
  return { target, path, server }
}

/** Sends bytes and reads to the end of the connection. */
async function exchange(path: string, ...chunks: string[]): Promise<string> {
  const socket = connect(path)
  let text = ''
  socket.setEncoding('utf8').on('data', (chunk) => {
    text += chunk
  })
  // A server may cut a connection that still has something to say.
  socket.on('error', () => {})
  for (const chunk of chunks) socket.write(chunk)
  await within(WAIT, 'end of the connection', ended(socket))
  return text
}

async function ended(socket: Socket): Promise<void> {
  if (!socket.closed) await once(socket, 'close')
}

t.test('requests and answers over the socket', async (t) => {
  const { target, path, server } = await serve(t)
  t.equal(server.path, path)
  t.match(await ask(path, 'GET', '/v1/status'), { status: 200, json: target.status() })
  t.match(await ask(path, 'POST', '/v1/iothreads', { id: 'x' }), { status: 201, json: { id: 'x' } })
  t.match(await ask(path, 'DELETE', '/v1/iothreads/x'), { status: 204, body: '' })
  t.match(await ask(path, 'DELETE', '/v1/iothreads/io0'), { status: 409, json: { error: { code: 'EBUSY' } } })
  t.match(await ask(path, 'GET', '/openapi.json'), { status: 200, json: { paths: { '/v1/status': {} } } })
})

t.test('nobody but the owner may connect, and the socket goes with the server', async (t) => {
  const { path, server } = await serve(t)
  t.equal(statSync(path).mode & 0o777, 0o600)
  await server.close()
  t.notOk(existsSync(path))
  await t.rejects(ask(path, 'GET', '/v1/status'), { code: 'ENOENT' })
})

t.test('a path that cannot be had', async (t) => {
  const { path } = await serve(t)
  const listen = (where: string) => ControlServer.listen(where, new FakeControlTarget(), LOG)
  await t.rejects(listen(path), { name: 'StartError', code: 'VUS_SOCKET_IN_USE' })
  t.match(await ask(path, 'GET', '/v1/status'), { status: 200 }, 'the one who has it keeps it')
  const file = join(tempDir(t), 'file')
  writeFileSync(file, '')
  await t.rejects(listen(file), { name: 'StartError', code: 'VUS_SOCKET_PATH' })
  await t.rejects(listen(join(file, 'x')), { name: 'StartError', code: 'ENOTDIR' })
})

t.test('closing cuts what is under way', async (t) => {
  const { target, path, server } = await serve(t)
  target.hold = new Promise(() => {})
  const begun = target.called()
  const cut = t.rejects(ask(path, 'DELETE', '/v1/iothreads/io0'), { code: 'ECONNRESET' })
  await within(WAIT, 'the call', begun)
  await within(WAIT, 'close', server.close())
  await cut
})

t.test('a server that retires ends what is under way, and nothing more', async (t) => {
  const { target, path, server } = await serve(t)
  let go = () => {}
  target.hold = new Promise((resolve) => {
    go = resolve
  })
  const silent = connect(path)
  const held = connect(path)
  for (const socket of [silent, held]) {
    socket.setEncoding('utf8')
    socket.on('error', () => {})
  }
  let answers = ''
  held.on('data', (text) => {
    answers += text
  })
  const begun = target.called()
  held.write('POST /v1/stop HTTP/1.1\r\nHost: x\r\n\r\nGET /v1/status HTTP/1.1\r\nHost: x\r\n\r\n')
  await within(WAIT, 'the call', begun)
  server.retire()
  server.retire()
  t.notOk(existsSync(path))
  await t.rejects(ask(path, 'GET', '/v1/status'), { code: 'ENOENT' })
  const finished = server.finish()
  go()
  await within(WAIT, 'the end', finished)
  await within(WAIT, 'the end of the connection', ended(held))
  await within(WAIT, 'the end of the other', ended(silent))
  t.match(answers, /^HTTP\/1\.1 200 .*"in-flight":false/s)
})

t.test('what comes after it has retired is refused', async (t) => {
  const { target, path, server } = await serve(t)
  let go = () => {}
  target.hold = new Promise((resolve) => {
    go = resolve
  })
  const begun = target.called()
  const socket = connect(path)
  let answers = ''
  socket.setEncoding('utf8').on('data', (text) => {
    answers += text
  })
  socket.write('POST /v1/luns/root/refresh HTTP/1.1\r\nHost: x\r\n\r\n')
  await within(WAIT, 'the call', begun)
  server.retire()
  // In the same breath as the answer: the connection has not become idle.
  socket.write('POST /v1/luns/root/refresh HTTP/1.1\r\nHost: x\r\n\r\n')
  await new Promise((resolve) => setImmediate(resolve))
  go()
  await within(WAIT, 'the end of the connection', ended(socket))
  t.match(answers, /^HTTP\/1\.1 200 /)
  t.notMatch(answers, /200.*200/s, 'the second was not carried out')
  t.strictSame(target.calls, ['refreshLun root'])
})

t.test('what does not end is cut', async (t) => {
  const { target, path, server } = await serve(t)
  target.hold = new Promise(() => {})
  const begun = target.called()
  const cut = t.rejects(ask(path, 'POST', '/v1/stop'), { code: 'ECONNRESET' })
  await within(WAIT, 'the call', begun)
  await within(WAIT, 'the end', server.finish())
  await cut
})

t.test('what is no request', async (t) => {
  const { path } = await serve(t)
  t.match(await exchange(path, 'nonsense\r\n\r\n'), /^HTTP\/1\.1 400 /)
  t.match(await exchange(path, 'GET /v1/status HTTP/1.1\r\nConnection: close\r\n\r\n'), /^HTTP\/1\.1 400 /, 'no host')
  const strange = await exchange(path, 'GET /v1/status HTTP/1.1\r\nHost: a b/\r\nConnection: close\r\n\r\n')
  t.match(strange, /^HTTP\/1\.1 400 .*"code":"VUS_REQUEST"/s)
  const header = `GET / HTTP/1.1\r\nHost: x\r\nX: ${'x'.repeat(20_000)}\r\n\r\n`
  t.match(await exchange(path, header), /^(HTTP\/1\.1 431 |$)/)
  for (const target of ['http://other/v1/status', '//v1/status', '/v1/../v1/status', '*']) {
    const answer = await exchange(path, `GET ${target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`)
    t.match(answer, /^HTTP\/1\.1 [24]0[04] /, target)
  }
  t.match(await ask(path, 'GET', '/v1/status'), { status: 200 }, 'the server lives')
})

t.test('a body that is too large', async (t) => {
  const { target, path } = await serve(t)
  const head = 'POST /v1/iothreads HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nConnection: close\r\n'
  const promised = await exchange(path, `${head}Content-Length: ${2 ** 40}\r\n\r\n`, '{'.repeat(100))
  t.match(promised, /^HTTP\/1\.1 413 .*"code":"VUS_BODY"/s, 'one that is promised')
  const chunks = `${MAX_BODY_BYTES.toString(16)}\r\n${' '.repeat(MAX_BODY_BYTES)}\r\n`
  const sent = await exchange(path, `${head}Transfer-Encoding: chunked\r\n\r\n`, chunks, chunks, '0\r\n\r\n')
  t.match(sent, /^HTTP\/1\.1 411 /, 'one in pieces')
  const exact = JSON.stringify({ id: 'x' }).padEnd(MAX_BODY_BYTES)
  t.match(await ask(path, 'POST', '/v1/iothreads', exact), { status: 201 }, 'one that just fits')
  t.match(await ask(path, 'POST', '/v1/iothreads', `${exact} `), { status: 413 })
  t.strictSame(target.calls, ['addIothread {"id":"x"}'])
})

t.test('slow and silent clients are cut off', async (t) => {
  const { path } = await serve(t, { requestMs: 100, idleMs: 200, connections: 4 })
  t.match(await exchange(path, 'GET /v1/status HTTP/1.1\r\nHost'), /^(HTTP\/1\.1 408 |$)/, 'half a head')
  const body = 'POST /v1/iothreads HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{'
  t.match(await exchange(path, body), /^(HTTP\/1\.1 408 |$)/, 'half a body')
  t.match(await exchange(path), /^(HTTP\/1\.1 408 |$)/, 'nothing at all')
})

t.test('no more connections than a few', async (t) => {
  const { path } = await serve(t, { ...LIMITS, connections: 2 })
  const held = [connect(path), connect(path)]
  t.teardown(() => {
    for (const socket of held) socket.destroy()
  })
  await within(WAIT, 'connections', Promise.all(held.map((socket) => once(socket, 'connect'))))
  t.equal(await exchange(path), '', 'a third is closed at once')
  const closed = ended(held[0]!)
  held[0]!.end('GET /v1/status HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n')
  held[0]!.resume()
  await within(WAIT, 'close', closed)
  t.match(await ask(path, 'GET', '/v1/status'), { status: 200 }, 'there is room again')
})

t.test('what is thrown that is no error ends the request only', async (t) => {
  const { target, path } = await serve(t)
  target.failure = 'secret'
  const answer = await ask(path, 'DELETE', '/v1/iothreads/io0')
  t.match(answer, { status: 500, json: { error: { code: 'VUS_INTERNAL' } } })
  t.notMatch(answer.body, /secret/)
  t.match(await ask(path, 'GET', '/v1/status'), { status: 200 })
})

t.test('a client that leaves before the answer', async (t) => {
  const { target, path } = await serve(t)
  let go = () => {}
  target.hold = new Promise((resolve) => {
    go = resolve
  })
  const begun = target.called()
  const socket = connect(path)
  socket.write('POST /v1/luns/root/refresh HTTP/1.1\r\nHost: x\r\n\r\n')
  await within(WAIT, 'the call', begun)
  socket.destroy()
  await ended(socket)
  go()
  t.match(await ask(path, 'GET', '/v1/luns'), { status: 200 })
})

/** The packages that a compiled module loads when it is loaded itself, through other modules of ours too. */
function packagesOf(file: string, seen = new Set<string>(), packages = new Set<string>()): Set<string> {
  if (seen.has(file)) return packages
  seen.add(file)
  for (const [, specifier] of readFileSync(file, 'utf8').matchAll(/^(?:import|export)\b[^'"=(]*['"]([^'"]+)['"];/gm)) {
    if (specifier!.startsWith('.')) packagesOf(join(dirname(file), specifier!), seen, packages)
    else packages.add(specifier!)
  }
  return packages
}

t.test('what it needs is loaded only where it is configured', (t) => {
  const compiled = (module: string) => fileURLToPath(new URL(`../../../daemon/${module}`, import.meta.url))
  const isHono = (name: string) => name.includes('hono')
  t.ok([...packagesOf(compiled('control/server.js'))].some(isHono))
  for (const module of ['main.js', 'run.js', 'daemon.js', 'ctl/run-ctl.js']) {
    t.strictSame([...packagesOf(compiled(module))].filter(isHono), [], module)
  }
  t.ok(packagesOf(compiled('daemon.js')).has('vhost-user-protocol-ts'), 'imports are found')
  t.end()
})
