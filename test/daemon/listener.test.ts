import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { close, connectUnix, createMemfd, listenUnix, socketPair } from 'memfd-mmap'
import t from 'tap'
import { Listener } from '../../daemon/listener.js'
import type { Log } from '../../daemon/log.js'
import { eventually, within } from '../support/deadline.js'
import { tempDir } from '../support/temp-dir.js'

const SOON_MS = 10_000

/** A log that keeps its lines. */
function recorder(): { log: Log; lines: string[] } {
  const lines: string[] = []
  const record = (level: string) => (_: object, message: string) => {
    lines.push(`${level}: ${message}`)
  }
  return { lines, log: { warn: record('warn'), error: record('error') } as unknown as Log }
}

/** Serves connections until told to end them. */
class Server {
  readonly served: { fd: number; end: (error?: Error) => void }[] = []
  active = 0
  most = 0

  readonly serve = (fd: number): Promise<void> => {
    this.most = Math.max(this.most, ++this.active)
    return new Promise((resolve, reject) => {
      const end = (error?: Error) => {
        close(fd)
        this.active--
        if (error === undefined) resolve()
        else reject(error)
      }
      this.served.push({ fd, end })
    })
  }

  reached(count: number): Promise<true> {
    return eventually(SOON_MS, `connection ${count}`, () => (this.served.length >= count ? true : undefined))
  }
}

t.test('one front end after another', async (t) => {
  const path = join(tempDir(t), 's')
  const { log, lines } = recorder()
  const listener = Listener.open({ id: 'c', socketPath: path, socketMode: 0o600 }, log)
  t.equal(listener.address, path)
  const first = connectUnix(path)
  const second = connectUnix(path)
  const third = connectUnix(path)
  const server = new Server()
  listener.start(server.serve)
  await server.reached(1)
  await eventually(SOON_MS, 'the log line', () => (lines.length > 0 ? true : undefined))
  t.equal(server.served.length, 1)
  t.strictSame(lines, [`warn: ${path}: a second front end waits until the first has gone`])
  server.served[0]!.end()
  await server.reached(2)
  server.served[1]!.end(new Error('torn'))
  await server.reached(3)
  server.served[2]!.end()
  t.equal(server.most, 1, 'never two at once')
  t.ok(lines.includes(`error: ${path}: the connection failed`))
  listener.close()
  listener.close()
  t.notOk(existsSync(path))
  for (const fd of [first, second, third]) close(fd)
})

t.test('closing while a front end is served leaves it alone', async (t) => {
  const path = join(tempDir(t), 's')
  const listener = Listener.open({ id: 'c', socketPath: path }, recorder().log)
  const server = new Server()
  listener.start(server.serve)
  const peer = connectUnix(path)
  await server.reached(1)
  listener.close()
  t.equal(server.active, 1)
  t.throws(() => connectUnix(path), { code: 'ENOENT' })
  server.served[0]!.end()
  close(peer)
  t.throws(() => listener.start(server.serve))
})

t.test('an inherited listening descriptor', async (t) => {
  const path = join(tempDir(t), 's')
  const fd = listenUnix(path)
  const listener = Listener.open({ id: 'c', fd }, recorder().log)
  t.equal(listener.address, `fd ${fd}`)
  const server = new Server()
  listener.start(server.serve)
  for (let count = 1; count <= 2; count++) {
    const peer = connectUnix(path)
    await server.reached(count)
    server.served[count - 1]!.end()
    close(peer)
  }
  listener.close()
  t.ok(existsSync(path), 'its path belongs to whoever made it')
})

t.test('an inherited connected descriptor', async (t) => {
  const [ours, peer] = socketPair()
  const listener = Listener.open({ id: 'c', fd: ours }, recorder().log)
  let exhausted = false
  const end = listener.exhausted.then(() => {
    exhausted = true
  })
  const server = new Server()
  listener.start(server.serve)
  t.strictSame(
    server.served.map(({ fd }) => fd),
    [ours],
  )
  t.notOk(exhausted)
  server.served[0]!.end()
  await within(SOON_MS, 'the end', end)
  listener.close()
  close(peer)
})

t.test('what cannot be listened on', (t) => {
  const { log } = recorder()
  const memfd = createMemfd('x', 4096)
  for (const fd of [memfd, 9999]) {
    t.throws(() => Listener.open({ id: 'c', fd }, log), {
      code: 'VUS_SOCKET_FD',
      message: `--fd=${fd}: expected an open Unix stream socket`,
    })
  }
  close(memfd)
  const path = join(tempDir(t), 's')
  const live = listenUnix(path)
  t.throws(() => Listener.open({ id: 'c', socketPath: path }, log), { code: 'VUS_SOCKET_IN_USE' })
  close(live)
  t.throws(() => Listener.open({ id: 'c' }, log), { code: 'VUS_CONFIG' })
  t.end()
})

t.test('a listener that was never started', (t) => {
  const path = join(tempDir(t), 's')
  const listener = Listener.open({ id: 'c', socketPath: path }, recorder().log)
  listener.close()
  t.notOk(existsSync(path))
  t.end()
})
