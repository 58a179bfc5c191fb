import { existsSync } from 'node:fs'
import { type IncomingMessage, type RequestOptions, request } from 'node:http'
import { connect } from 'node:net'
import { join } from 'node:path'
import t from 'tap'
import type { ListenAddress } from '../../daemon/daemon-config.js'
import type { Log } from '../../daemon/log.js'
import { Metrics } from '../../daemon/metrics.js'
import { MetricsServer, type Probes } from '../../daemon/metrics-server.js'
import { tempDir } from '../support/temp-dir.js'

const LOG = { error() {} } as unknown as Log
const WELL: Probes = { isReady: () => true, silentIothreads: () => [] }
const LOCAL: ListenAddress = { host: '127.0.0.1', port: 0 }

interface Answer {
  status: number | undefined
  type: string | undefined
  body: string
}

function ask(address: ListenAddress, path: string, options: RequestOptions = {}): Promise<Answer> {
  const where = 'path' in address ? { socketPath: address.path } : address
  return new Promise((resolve, reject) => {
    const sent = request({ ...where, path, agent: false, ...options }, (response: IncomingMessage) => {
      let body = ''
      response.setEncoding('utf8').on('data', (text) => {
        body += text
      })
      response.on('end', () => resolve({ status: response.statusCode, type: response.headers['content-type'], body }))
    })
    sent.on('error', reject)
    sent.end()
  })
}

function metrics(): Metrics {
  return new Metrics({ queues: () => [], iothreads: () => [] }, '1.2.3')
}

t.test('over TCP', async (t) => {
  let ready = false
  const silent: string[] = []
  const server = await MetricsServer.listen(
    LOCAL,
    metrics(),
    { isReady: () => ready, silentIothreads: () => silent },
    LOG,
  )
  const { address } = server
  t.ok('port' in address && address.port > 0, 'a free port was picked')
  const scrape = await ask(address, '/metrics?x=1')
  t.match(scrape, { status: 200, type: /^text\/plain; version=0\.0\.4/, body: /build_info\{version="1\.2\.3"/ })
  t.match(await ask(address, '/healthz'), { status: 200, body: 'ok\n' })
  t.match(await ask(address, '/readyz'), { status: 503, body: 'not ready\n' })
  ready = true
  t.match(await ask(address, '/readyz'), { status: 200, body: 'ready\n' })
  silent.push('io0', 'disk')
  t.match(await ask(address, '/healthz'), { status: 503, body: 'IOThreads that do not answer: io0, disk\n' })
  t.match(await ask(address, '/readyz'), { status: 200 }, 'it serves those whose IOThreads answer')
  silent.length = 0
  t.match(await ask(address, '/healthz'), { status: 200, body: 'ok\n' })
  t.match(await ask(address, '/'), { status: 404 })
  t.match(await ask(address, '/metrics', { method: 'POST' }), { status: 405 })
  t.match(await ask(address, '/metrics', { method: 'HEAD' }), { status: 200, body: /^$/ })
  await server.close()
  await t.rejects(ask(address, '/healthz'), { code: 'ECONNREFUSED' })
})

t.test('over a Unix socket', async (t) => {
  const path = join(tempDir(t), 'm')
  const server = await MetricsServer.listen({ path }, metrics(), WELL, LOG)
  t.match(await ask({ path }, '/metrics'), { status: 200, body: /vhost_user_scsi_connections_total 0/ })
  await t.rejects(MetricsServer.listen({ path }, metrics(), WELL, LOG), { code: 'VUS_SOCKET_IN_USE' })
  await server.close()
  t.notOk(existsSync(path))
})

t.test('a scrape that fails is a 500', async (t) => {
  const broken = new Metrics(
    {
      queues() {
        throw new Error('broken')
      },
      iothreads: () => [],
    },
    '1',
  )
  const server = await MetricsServer.listen(LOCAL, broken, WELL, LOG)
  t.match(await ask(server.address, '/metrics'), { status: 500, body: 'the metrics could not be collected\n' })
  t.match(await ask(server.address, '/healthz'), { status: 200 })
  await server.close()
})

t.test('an address that cannot be had', async (t) => {
  const server = await MetricsServer.listen(LOCAL, metrics(), WELL, LOG)
  const { address } = server
  await t.rejects(MetricsServer.listen(address, metrics(), WELL, LOG), {
    code: 'EADDRINUSE',
    message: /^metrics: cannot listen on 127\.0\.0\.1:\d+: address already in use$/,
  })
  await server.close()
  const host = '192.0.2.1'
  await t.rejects(MetricsServer.listen({ host, port: 1 }, metrics(), WELL, LOG), { code: 'EADDRNOTAVAIL' })
})

t.test('closing does not wait for idle clients', async (t) => {
  const path = join(tempDir(t), 'm')
  const server = await MetricsServer.listen({ path }, metrics(), WELL, LOG)
  const client = connect(path)
  await new Promise((done) => client.once('connect', done))
  const gone = new Promise((done) => client.once('close', done))
  client.resume()
  await server.close()
  await gone
})
