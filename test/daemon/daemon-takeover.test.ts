// A daemon started beside another one, both in this process: what is handed over, and what stays where it is.
import { readdirSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { close, listenUnix } from 'memfd-mmap'
import t, { type Test } from 'tap'
import { resolveConfig } from '../../daemon/config.js'
import type { Settings } from '../../daemon/config-schema.js'
import { startDaemon } from '../../daemon/daemon.js'
import type { DaemonConfig } from '../../daemon/daemon-config.js'
import type { Log } from '../../daemon/log.js'
import type { RunningDaemon } from '../../daemon/run.js'
import { within } from '../support/deadline.js'
import { writeAndRead } from '../support/hostile/bed.js'
import { sparseImage } from '../support/image.js'
import { tempDir } from '../support/temp-dir.js'
import { ask } from '../support/unix-http.js'
import { Initiator } from '../support/vhost/initiator.js'
import { Reconnection } from '../support/vhost/reconnection.js'

const PATIENCE = 60_000
const NAMES = ['a', 'b']

t.setTimeout(240_000)

/** A log that keeps what is worth a look. */
function recorder(): { log: Log; lines: string[] } {
  const lines: string[] = []
  const record = (level: string) => (first: unknown, second?: string) => {
    lines.push(`${level}: ${second ?? first}`)
  }
  const log = { debug() {}, info() {}, warn: record('warn'), error: record('error'), fatal: record('fatal') }
  return { log: { ...log, child: () => log } as unknown as Log, lines }
}

/** Daemons that are all configured to have the same sockets, in a directory of theirs, and two images. */
class Bed {
  readonly directory: string
  readonly control: string
  readonly sockets: readonly string[]
  readonly #t: Test
  readonly #luns: NonNullable<Settings['luns']>

  constructor(t: Test) {
    this.#t = t
    this.directory = tempDir(t)
    const images = tempDir(t)
    this.control = join(this.directory, 'control')
    this.sockets = NAMES.map((name) => join(this.directory, name))
    this.#luns = NAMES.map((id) => ({ id, path: sparseImage(images, id, 4) }))
  }

  config(more: Partial<Settings> = {}): DaemonConfig {
    const controllers = NAMES.map((id, i) => ({
      id,
      'socket-path': this.sockets[i]!,
      'num-queues': 1,
      luns: [{ id, lun: 0 }],
    }))
    return resolveConfig({ luns: this.#luns, controllers, control: { socket: this.control }, ...more }, { cpus: 1 })
  }

  /** One that ends when it is asked to, as the process would. `gone` resolves then. */
  async start(config: DaemonConfig, log = recorder().log): Promise<{ gone: Promise<void>; daemon: RunningDaemon }> {
    const daemon = await startDaemon(config, log)
    this.#t.teardown(() => daemon.stop())
    const gone = daemon.finished.then(() => daemon.stop())
    gone.catch(() => {})
    return { daemon, gone }
  }

  async connect(i: number): Promise<Initiator> {
    const initiator = await Initiator.connect(this.sockets[i]!)
    this.#t.teardown(() => initiator.close())
    return initiator
  }
}

async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as { port: number }
  await new Promise((resolve) => server.close(resolve))
  return port
}

t.test('all sockets, images and addresses of a daemon', async (t) => {
  const port = await freePort()
  const ways = [{ host: '127.0.0.1', port }, { path: join(tempDir(t), 'metrics') }]
  for (const listen of ways) {
    const bed = new Bed(t)
    const { lines, log } = recorder()
    const old = await bed.start(bed.config({ metrics: { listen } }))
    const guests = [await bed.connect(0), await bed.connect(1)]
    for (const guest of guests) await writeAndRead(guest, 0, 0)
    const reconnections = guests.map((guest, i) => new Reconnection(guest, bed.sockets[i]!))
    const fresh = await bed.start(bed.config({ metrics: { listen }, takeover: true }), log)
    await within(PATIENCE, 'the end of the old one', old.gone)
    for (const [i, guest] of guests.entries()) {
      await writeAndRead(guest, 0, 1)
      await reconnections[i]!.reached(1)
    }
    t.strictSame(readdirSync(bed.directory).sort(), ['a', 'b', 'control'])
    t.match((await ask(bed.control, 'GET', '/v1/status')).json, {
      ready: true,
      controllers: [{ connected: true }, { connected: true }],
    })
    if ('port' in listen) {
      const text = await (await fetch(`http://127.0.0.1:${port}/readyz`)).text()
      t.equal(text, 'ready\n', 'the metrics are answered there')
    } else {
      t.match(await ask(listen.path, 'GET', '/readyz'), { status: 200 })
    }
    t.strictSame(lines, [], 'nothing to complain of')
    for (const each of reconnections) each.stop()
    await fresh.daemon.stop()
    t.strictSame(readdirSync(bed.directory), [])
  }
})

t.test('the address of the metrics is not to be had, of whomever', async (t) => {
  const bed = new Bed(t)
  const port = await freePort()
  const stranger = createServer()
  await new Promise<void>((resolve) => stranger.listen(port, '127.0.0.1', resolve))
  t.teardown(() => stranger.close())
  const { lines, log } = recorder()
  const old = await bed.start(bed.config())
  await bed.start(bed.config({ metrics: { listen: { host: '127.0.0.1', port } }, takeover: true }), log)
  await within(PATIENCE, 'the end of the old one', old.gone)
  t.strictSame(lines, [`error: metrics: cannot listen on 127.0.0.1:${port}: address already in use`])
  await writeAndRead(await bed.connect(0), 0, 0)
})

t.test('nobody is there', async (t) => {
  const bed = new Bed(t)
  close(listenUnix(bed.sockets[0]!))
  const { lines, log } = recorder()
  await bed.start(bed.config({ takeover: true }), log)
  await writeAndRead(await bed.connect(0), 0, 0)
  t.strictSame(lines, [])
  t.strictSame(readdirSync(bed.directory).sort(), ['a', 'b', 'control'])
})

t.test('what cannot be started leaves the old one alone', async (t) => {
  const bed = new Bed(t)
  const old = await bed.start(bed.config())
  let isGone = false
  void old.gone.then(() => {
    isGone = true
  })
  const guest = await bed.connect(0)
  const base = bed.config({ takeover: true })
  const cases: [string, DaemonConfig, string][] = [
    ['without takeover', bed.config(), 'VUS_SOCKET_IN_USE'],
    ['no control socket there', { ...base, controlSocket: join(bed.directory, 'other') }, 'VUS_TAKEOVER'],
    ['a guest would lose its disk', { ...base, controllers: base.controllers.slice(1) }, 'VUS_TAKEOVER'],
    ['an image that is gone', { ...base, luns: base.luns.map((lun) => ({ ...lun, path: '/nonexistent' })) }, 'ENOENT'],
    ['CPUs that there are not', { ...base, iothreads: [{ ...base.iothreads[0]!, cpus: [1023] }] }, 'EINVAL'],
    ['an address that is not ours', { ...base, metricsListen: { host: '192.0.2.1', port: 1 } }, 'EADDRNOTAVAIL'],
  ]
  for (const [name, config, code] of cases) {
    await t.rejects(startDaemon(config, recorder().log), { name: 'StartError', code }, name)
    t.strictSame(readdirSync(bed.directory).sort(), ['a', 'b', 'control'], 'nothing is left')
    t.notOk(isGone)
    await writeAndRead(guest, 0, 0)
    await (await bed.connect(1)).close()
  }
})

t.test('an old one that does not leave', async (t) => {
  const bed = new Bed(t)
  const luns = NAMES.map((id) => ({ id, driver: 'memory' as const, size: 2 ** 20 }))
  // Nobody carries out what it is asked for.
  const old = await startDaemon(bed.config({ luns, 'stop-timeout': 0 }), recorder().log)
  t.teardown(() => old.stop())
  const faithful = await bed.connect(0)
  const { lines, log } = recorder()
  await bed.start(bed.config({ luns, takeover: true }), log)
  t.strictSame(lines, [
    'warn: lun "a": its content ends with the daemon before',
    'warn: lun "b": its content ends with the daemon before',
    `error: the daemon before (pid ${process.pid}) has not left within 5 s: what is connected to it stays there until it ends`,
  ])
  await writeAndRead(faithful, 0, 0)
  await writeAndRead(await bed.connect(1), 0, 0)
  const reconnection = new Reconnection(faithful, bed.sockets[0]!)
  await old.stop()
  await reconnection.reached(1)
  await writeAndRead(faithful, 0, 1)
  t.equal(reconnection.count, 1)
  reconnection.stop()
  t.strictSame(readdirSync(bed.directory).sort(), ['a', 'b', 'control'])
})
