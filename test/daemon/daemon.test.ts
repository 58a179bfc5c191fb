import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { close, connectUnix, listenUnix, socketPair } from 'memfd-mmap'
import t, { type Test } from 'tap'
import { FrontEnd } from 'vhost-user-protocol-ts'
import { resolveConfig } from '../../daemon/config.js'
import { startDaemon } from '../../daemon/daemon.js'
import type { DaemonConfig } from '../../daemon/daemon-config.js'
import { createLog } from '../../daemon/log.js'
import { startConfigured } from '../support/configured-daemon.js'
import type { Daemon } from '../support/daemon.js'
import { eventually, within } from '../support/deadline.js'
import { serve, writeAndRead } from '../support/hostile/bed.js'
import { openFiles, sharedMappings } from '../support/proc.js'
import { tempDir } from '../support/temp-dir.js'
import { Initiator } from '../support/vhost/initiator.js'
import { splitDriver } from '../support/vhost/ring-driver.js'

t.setTimeout(240_000)

const PATIENCE = 30_000
const silent = createLog({ level: 'silent', format: 'json' })

/** A checked configuration of one memory LUN behind each socket of a directory; `overrides` come on top. */
function configFor(sockets: readonly string[], overrides: Partial<DaemonConfig> = {}): DaemonConfig {
  const settings = {
    luns: sockets.map((_, i) => ({ id: `disk${i}`, driver: 'memory' as const, size: 2 ** 22 })),
    controllers: sockets.map((path, i) => ({
      id: `vm${i}`,
      'socket-path': path,
      'num-queues': 2,
      luns: [{ id: `disk${i}`, target: 0, lun: 0 }],
    })),
  }
  return { ...resolveConfig(settings, { cpus: 2 }), ...overrides }
}

const holds = () => ({
  files: [...openFiles(process.pid).values()].map((name) => name.replace(/\d+/g, 'n')).sort(),
  mappings: sharedMappings(process.pid).filter((line) => line.includes('vhost-user-scsid')).length,
})

/** Waits until this process holds what it held before: workers close their descriptors at their own pace. */
async function restored(t: Test, before: ReturnType<typeof holds>): Promise<void> {
  const same = () => (JSON.stringify(holds()) === JSON.stringify(before) ? true : undefined)
  await eventually(PATIENCE, 'as many descriptors and mappings as before', same).catch(() => {})
  t.same(holds(), before, 'nothing is left open')
}

t.test('it serves, and stops with nothing left', async (t) => {
  const directory = tempDir(t)
  const sockets = ['a', 'b'].map((name) => join(directory, `${name}.sock`))
  const metricsListen = { path: join(directory, 'metrics.sock') }
  // The first poll of a process, and its first server, open what stays open.
  const warm = await startDaemon(configFor([join(directory, 'warm.sock')], { metricsListen }), silent)
  await serve(join(directory, 'warm.sock'))
  await warm.stop()
  const before = holds()
  const daemon = await startDaemon(configFor(sockets, { metricsListen }), silent)
  const initiators: Initiator[] = []
  for (const socket of sockets) initiators.push(await Initiator.connect(socket, { queues: 2 }))
  await Promise.all(initiators.map((initiator, i) => writeAndRead(initiator, i, i)))
  const closed = initiators.map(({ frontEnd }) => within(PATIENCE, 'the end of the connection', frontEnd.closed))
  await daemon.stop()
  await Promise.all(closed)
  for (const initiator of initiators) await initiator.close()
  for (const path of [...sockets, metricsListen.path]) t.notOk(existsSync(path), `${path} is gone`)
  await restored(t, before)
})

t.test('what cannot be started leaves nothing', async (t) => {
  const directory = tempDir(t)
  const path = (name: string) => join(directory, name)
  const live = listenUnix(path('live.sock'))
  t.teardown(() => close(live))
  const good = configFor([path('a.sock'), path('b.sock')])
  const before = holds()
  const [first, second] = good.controllers
  const gone = { ...good.luns[1]!, driver: 'file' as const, path: path('none.img') }
  const cases: [string, DaemonConfig, string][] = [
    ['an image that is gone', { ...good, luns: [good.luns[0]!, gone] }, 'ENOENT'],
    [
      'a socket that somebody else has',
      { ...good, controllers: [first!, { ...second!, socketPath: path('live.sock') }] },
      'VUS_SOCKET_IN_USE',
    ],
    ['metrics where there is no directory', { ...good, metricsListen: { path: path('none/metrics.sock') } }, 'ENOENT'],
    [
      'CPUs that there are not',
      { ...good, iothreads: [{ ...good.iothreads[0]!, cpus: [1023] }, good.iothreads[1]!] },
      'EINVAL',
    ],
  ]
  for (const [name, config, code] of cases) {
    await t.rejects(startDaemon(config, silent), { name: 'StartError', code }, name)
    t.notOk(existsSync(path('a.sock')), 'no socket is left')
    await restored(t, before)
  }
})

t.test('connected descriptors: it is finished when their connections are', async (t) => {
  const pairs = [socketPair(), socketPair()]
  const directory = tempDir(t)
  const base = configFor([join(directory, 'a.sock'), join(directory, 'b.sock')])
  const controllers = base.controllers.map(({ socketPath: _path, ...rest }, i) => ({ ...rest, fd: pairs[i]![0] }))
  const daemon = await startDaemon({ ...base, controllers }, silent)
  let finished = false
  const end = daemon.finished.then(() => {
    finished = true
  })
  const [one, other] = pairs.map(([, front]) => new FrontEnd(front))
  await one!.getFeatures()
  await other!.getFeatures()
  one!.close()
  await other!.getFeatures()
  t.equal(finished, false, 'one is still there')
  other!.close()
  await within(PATIENCE, 'the end', end)
  await daemon.stop()
})

interface Line {
  readonly level: number
  readonly controller?: string
  readonly code?: string
  readonly ring?: number
  readonly suppressed?: number
  readonly msg: string
}

/** The log of a daemon from now on. */
function logOf(daemon: Daemon): { lines: () => Line[] } {
  let text = ''
  daemon.child.process.stderr?.on('data', (part: string) => {
    text += part
  })
  return {
    lines: () =>
      text
        .split('\n')
        .slice(0, -1)
        .map((line) => JSON.parse(line) as Line),
  }
}

/** A front end that breaks its first request ring. */
async function breakRing(daemon: Daemon, index: number): Promise<void> {
  const initiator = await Initiator.connect(daemon.socketPath, { deadline: PATIENCE })
  const queue = initiator.queues[index]!
  splitDriver(queue.driver).publishRaw(splitDriver(queue.driver).availIndex + 1000)
  queue.kick()
  await within(PATIENCE, 'the end of the ring', queue.breaks())
  await initiator.close()
}

t.test('a guest can neither flood the log nor silence it for others', async (t) => {
  const memory = (id: string) => ({ id, driver: 'memory', size: '4M' })
  const vm = (id: string, disk: string) => ({ id, 'num-queues': 2, luns: [{ id: disk, target: 0, lun: 0 }] })
  const [noisy, quiet] = await startConfigured(t, {
    luns: [memory('disk0'), memory('disk1')],
    controllers: [vm('noisy', 'disk0'), vm('quiet', 'disk1')],
  })
  const log = logOf(noisy!)
  const code = 'VUS_RING_AVAILABLE_INDEX'
  const attacks = 40
  for (let i = 0; i < attacks; i++) await breakRing(noisy!, i % 2 === 0 ? 2 : 0)
  await breakRing(quiet!, 2)
  await breakRing(quiet!, 0)
  const by = (controller: string): Line[] =>
    log.lines().filter((line) => line.controller === controller && line.code === code)
  await eventually(PATIENCE, 'the lines of the quiet one', () => (by('quiet').length === 2 ? true : undefined))
  t.match(by('quiet'), [
    { level: 40, ring: 2, suppressed: 0, msg: /^ring 2: the ring is broken/ },
    { level: 40, ring: 0, suppressed: 0 },
  ])
  const lines = by('noisy')
  t.ok(lines.length >= 10 && lines.length < attacks, `${lines.length} lines for ${attacks} broken rings`)
  const said = lines.reduce((sum, { suppressed }) => sum + 1 + (suppressed ?? 0), 0)
  t.ok(said <= attacks, 'none was told of twice')
  const connections = () => log.lines().filter(({ msg }) => /^the front end closed/.test(msg))
  await eventually(PATIENCE, 'the last line', () => (connections().length >= attacks ? true : undefined))
  t.equal((await noisy!.metrics()).sum('vhost_user_scsi_faults_total', { kind: code }), attacks + 2, 'all are counted')
  await serve(noisy!.socketPath)
  t.match(await noisy!.stop(), { code: 0 })
})

t.test('why a connection ended is said each time', async (t) => {
  const luns = [{ id: 'disk0', driver: 'memory', size: '4M' }]
  const [daemon] = await startConfigured(t, {
    luns,
    controllers: [{ id: 'vm', luns: [{ id: 'disk0', target: 0, lun: 0 }] }],
  })
  const log = logOf(daemon!)
  const count = 30
  for (let i = 0; i < count; i++) {
    const frontEnd = new FrontEnd(connectUnix(daemon!.socketPath))
    frontEnd.sendRaw(new Uint8Array(12))
    await within(PATIENCE, 'the end of the connection', frontEnd.closed)
    frontEnd.close()
  }
  const ends = () => log.lines().filter((line) => line.code === 'VUS_BAD_VERSION')
  await eventually(PATIENCE, 'all lines', () => (ends().length === count ? true : undefined))
  t.ok(ends().every(({ level, controller }) => level === 50 && controller === 'vm'))
})
