import { readdirSync, symlinkSync } from 'node:fs'
import { createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import { close } from 'memfd-mmap'
import t from 'tap'
import { BoundSocket, isLive } from '../../daemon/bound-socket.js'
import { resolveConfig } from '../../daemon/config.js'
import { ControlServer } from '../../daemon/control/server.js'
import { ControlError, type StatusInfo } from '../../daemon/control/target.js'
import type { DaemonConfig } from '../../daemon/daemon-config.js'
import type { Log } from '../../daemon/log.js'
import { Takeover } from '../../daemon/takeover.js'
import { FakeControlTarget } from '../support/control-target.js'
import { within } from '../support/deadline.js'
import type { Teardown } from '../support/teardown.js'
import { tempDir } from '../support/temp-dir.js'

const WAIT = 30_000
const LOG = { debug() {}, error() {} } as unknown as Log
const LIMITS = { probeMs: WAIT, leavingMs: WAIT }

/** What a daemon says of itself that serves some paths. */
class Predecessor extends FakeControlTarget {
  readonly #status: Partial<StatusInfo>

  constructor(addresses: readonly string[], status: Partial<StatusInfo> = {}) {
    super()
    const controllers = addresses.map((address, i) => {
      return { id: `vm${i}`, address, connected: true, queues: 1, 'started-queues': 1 }
    })
    this.#status = { controllers, 'stop-timeout-seconds': 0, ...status }
  }

  override status(): StatusInfo {
    return { ...super.status(), ...this.#status }
  }
}

/** A directory with the sockets of a daemon that lives in this process, and a configuration to take them over. */
class Bed {
  readonly directory: string
  readonly config: DaemonConfig
  readonly sockets: BoundSocket[] = []
  readonly #t: Teardown

  constructor(t: Teardown, names: readonly string[] = ['a']) {
    this.#t = t
    this.directory = tempDir(t)
    this.config = resolveConfig({
      luns: [{ driver: 'null', 'share-rw': true }],
      takeover: true,
      control: { socket: this.path('control') },
      controllers: names.map((name) => ({ id: name, 'socket-path': this.path(name), 'num-queues': 1 })),
    })
  }

  path(name: string): string {
    return join(this.directory, name)
  }

  bind(name: string): string {
    const socket = BoundSocket.bind(this.path(name))
    this.sockets.push(socket)
    this.#t.teardown(() => socket.unlink())
    return socket.path
  }

  /** As a process that ends does it. */
  closeAll(): void {
    for (const socket of this.sockets.splice(0)) {
      socket.unlink()
      close(socket.fd)
    }
  }

  async control(target: Predecessor): Promise<ControlServer> {
    const server = await ControlServer.listen(this.path('control'), target, LOG)
    this.#t.teardown(() => server.close())
    return server
  }

  find(limits = LIMITS): Promise<Takeover | undefined> {
    return Takeover.find(this.config, limits)
  }
}

t.test('nobody is there', async (t) => {
  const bed = new Bed(t)
  t.equal(await bed.find(), undefined)
  bed.bind('a')
  bed.bind('control')
  for (const socket of bed.sockets) close(socket.fd)
  t.equal(await bed.find(), undefined, 'stale sockets')
})

t.test('a daemon that leaves', async (t) => {
  const bed = new Bed(t, ['a', 'b'])
  const paths = [bed.bind('a'), bed.bind('b')]
  const target = new Predecessor(paths, { pid: 17, 'stop-timeout-seconds': 2 })
  const server = await bed.control(target)
  let go = () => {}
  target.hold = new Promise((resolve) => {
    go = resolve
  })
  const takeover = (await bed.find())!
  t.match(takeover, { pid: 17, patience: 2000 + LIMITS.leavingMs })
  await takeover.connect()
  const taken = paths.map((path) => takeover.bind(path))
  const called = target.called()
  const leaving = takeover.leave()
  await within(WAIT, 'the call', called)
  server.retire()
  bed.closeAll()
  go()
  t.equal(await within(WAIT, 'the answer', leaving), 'left')
  takeover.settle()
  await server.finish()
  t.strictSame(readdirSync(bed.directory).sort(), ['a', 'b'])
  for (const path of paths) t.ok(isLive(path))
  for (const socket of taken) {
    socket.unlink()
    close(socket.fd)
  }
  t.strictSame(readdirSync(bed.directory), [])
})

t.test('its path through another name', async (t) => {
  const bed = new Bed(t)
  bed.bind('a')
  symlinkSync(bed.directory, `${bed.directory}/link`)
  await bed.control(new Predecessor([join(bed.directory, 'link', 'a'), 'fd 3'], {}))
  await t.rejects(bed.find(), { message: /controller "vm1" on fd 3 has a front end/ })
  const other = new Bed(t)
  const path = other.bind('a')
  symlinkSync(other.directory, `${other.directory}/link`)
  await other.control(new Predecessor([join(other.directory, 'link', 'a')]))
  t.ok(await other.find())
  t.ok(isLive(path))
})

t.test('who is not to be taken over', async (t) => {
  const unreachable = new Bed(t)
  const path = unreachable.bind('a')
  await t.rejects(unreachable.find(), {
    name: 'StartError',
    code: 'VUS_TAKEOVER',
    message: new RegExp(
      `^takeover: ${path}: is in use, and nobody can be asked to leave: ${unreachable.path('control')}: there is no such socket`,
    ),
  })

  const foreign = new Bed(t, ['a', 'b'])
  const own = foreign.bind('a')
  const other = foreign.bind('b')
  await foreign.control(new Predecessor([own]))
  await t.rejects(foreign.find(), {
    message: `takeover: ${other}: is in use by a live process other than the daemon of ${foreign.path('control')}`,
  })

  const elsewhere = new Bed(t)
  await elsewhere.control(new Predecessor(['/nonexistent/x']))
  await t.rejects(elsewhere.find(), {
    message: `takeover: ${elsewhere.path('control')}: is in use by a daemon that serves none of these sockets, such as ${elsewhere.path('a')}`,
  })

  const more = new Bed(t)
  await more.control(new Predecessor([more.bind('a'), '/run/b.sock']))
  await t.rejects(more.find(), {
    message: 'takeover: controller "vm1" on /run/b.sock has a front end, and is none of this configuration',
  })

  const starting = new Bed(t)
  await starting.control(new Predecessor([starting.bind('a')], { ready: false }))
  await t.rejects(starting.find(), { message: `takeover: ${starting.path('control')}: the daemon is still starting` })
})

t.test('a control socket whose owner does not answer', async (t) => {
  const bed = new Bed(t)
  const connections: Socket[] = []
  const server = createServer((socket) => connections.push(socket))
  await new Promise<void>((resolve) => server.listen(bed.path('control'), resolve))
  t.teardown(() => {
    for (const socket of connections) socket.destroy()
    server.close()
  })
  const limits = { ...LIMITS, probeMs: 200 }
  await t.rejects(bed.find(limits), { code: 'VUS_TAKEOVER', message: /control: is in use, .* no answer within 0.2 s/ })
  const path = bed.bind('a')
  await t.rejects(bed.find(limits), { code: 'VUS_TAKEOVER', message: /a: is in use, .* no answer within 0.2 s/ })
  t.ok(isLive(path))
})

t.test('a daemon that refuses gets its paths back', async (t) => {
  const bed = new Bed(t)
  const path = bed.bind('a')
  const target = new Predecessor([path])
  await bed.control(target)
  const takeover = (await bed.find())!
  await takeover.connect()
  const taken = takeover.bind(path)
  target.failure = new ControlError('ESHUTDOWN', 'it is stopping')
  await t.rejects(takeover.leave(), {
    code: 'VUS_TAKEOVER',
    message: 'takeover: the daemon before does not leave: it is stopping',
  })
  taken.unlink()
  close(taken.fd)
  t.strictSame(readdirSync(bed.directory).sort(), ['a', 'control'])
  t.ok(isLive(path))
})

t.test('one that is killed instead of answering has left', async (t) => {
  const bed = new Bed(t)
  const path = bed.bind('a')
  const target = new Predecessor([path], { 'stop-timeout-seconds': 100 })
  const server = await bed.control(target)
  target.hold = new Promise(() => {})
  const takeover = (await bed.find())!
  await takeover.connect()
  const taken = takeover.bind(path)
  const called = target.called()
  const leaving = takeover.leave()
  await within(WAIT, 'the call', called)
  bed.closeAll()
  await server.close()
  t.equal(await within(WAIT, 'the end', leaving), 'in-flight')
  takeover.settle()
  taken.unlink()
  close(taken.fd)
})

t.test('one whose connection ends while it serves on has not', async (t) => {
  const bed = new Bed(t)
  const path = bed.bind('a')
  const target = new Predecessor([path], { 'stop-timeout-seconds': 100 })
  const server = await bed.control(target)
  target.hold = new Promise(() => {})
  const takeover = (await bed.find())!
  await takeover.connect()
  const taken = takeover.bind(path)
  const called = target.called()
  const leaving = takeover.leave()
  leaving.catch(() => {})
  await within(WAIT, 'the call', called)
  await server.close()
  await t.rejects(leaving, { message: /another process has taken over meanwhile/ })
  taken.unlink()
  close(taken.fd)
  t.ok(isLive(path))
})

t.test('one that takes too long', async (t) => {
  const bed = new Bed(t)
  const path = bed.bind('a')
  const target = new Predecessor([path])
  await bed.control(target)
  target.hold = new Promise(() => {})
  const takeover = (await bed.find({ ...LIMITS, leavingMs: 100 }))!
  await takeover.connect()
  const taken = takeover.bind(path)
  t.equal(await within(WAIT, 'the end of patience', takeover.leave()), 'late')
  takeover.settle()
  t.ok(isLive(path))
  taken.unlink()
  close(taken.fd)
})

t.test('one that goes by itself in between', async (t) => {
  const bed = new Bed(t)
  const path = bed.bind('a')
  const server = await bed.control(new Predecessor([path]))
  const takeover = (await bed.find())!
  await server.close()
  await t.rejects(takeover.connect(), { code: 'VUS_TAKEOVER', message: /nobody can be asked/ }, 'the socket is in use')
  bed.closeAll()
  await takeover.connect()
  const taken = takeover.bind(path)
  t.equal(await takeover.leave(), 'left')
  takeover.settle()
  t.ok(isLive(path))
  taken.unlink()
  close(taken.fd)
})

t.test('somebody who takes the path in between keeps it', async (t) => {
  const bed = new Bed(t)
  const path = bed.bind('a')
  await bed.control(new Predecessor([path]))
  const takeover = (await bed.find())!
  await takeover.connect()
  const other = BoundSocket.replace(path)
  t.throws(() => takeover.bind(path), { message: `${path}: another process has taken the socket meanwhile` })
  other.settle()
  t.ok(isLive(path))
  other.unlink()
  close(other.fd)
})
