import { execFileSync } from 'node:child_process'
import { existsSync, lstatSync, mkdirSync, readdirSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { close, connectUnix, listenUnix } from 'memfd-mmap'
import t from 'tap'
import { Child } from '../support/child.js'
import { startDaemon } from '../support/daemon.js'
import { eventually } from '../support/deadline.js'
import type { Teardown } from '../support/teardown.js'
import { tempDir } from '../support/temp-dir.js'

const MAIN = fileURLToPath(new URL('../../daemon/main.js', import.meta.url))
const LIMIT_MS = 30_000

// Many processes, one after another.
t.setTimeout(240_000)

function start(t: Teardown, ...args: string[]): Child {
  return new Child(t, 'vhost-user-scsid', process.execPath, [MAIN, ...args])
}

/** Runs the program to its end. */
async function finish(
  t: Teardown,
  ...args: string[]
): Promise<{ code: number | null; stdout: string; stderr: string }> {
  const child = start(t, ...args)
  const { code } = await child.ended(LIMIT_MS)
  return { code, stdout: child.stdout, stderr: child.stderr }
}

/** The directory's files: an image of 1 MiB, and things that are no images. */
function fixtures(t: Teardown): { dir: string; at: (name: string) => string } {
  const dir = tempDir(t)
  const at = (name: string) => join(dir, name)
  writeFileSync(at('disk.img'), '')
  truncateSync(at('disk.img'), 2 ** 20)
  writeFileSync(at('odd.img'), 'x'.repeat(1000))
  mkdirSync(at('dir'))
  execFileSync('mkfifo', [at('fifo')])
  return { dir, at }
}

t.test('what cannot be served: one line on stderr, exit status 2', async (t) => {
  const { dir, at } = fixtures(t)
  const live = listenUnix(at('live'))
  t.teardown(() => close(live))
  const long = join(dir, 'x'.repeat(108))
  const socket = `--socket-path=${at('s')}`
  const mapping = (json: string) => [socket, '--num-queues=2', '--iothread=id=io0', `--iothread-vq-mapping=${json}`]
  const cases: [string, string[], RegExp][] = [
    ['missing image', [socket, `--lun=path=${at('none')}`], /LUN "disk0": .*\/none: no such file or directory$/],
    ['directory', [socket, `--lun=path=${at('dir')}`], /\/dir: is a directory, expected a regular file$/],
    ['FIFO', [socket, `--lun=path=${at('fifo')}`], /\/fifo: is a FIFO, expected a regular file$/],
    ['odd size', [socket, `--lun=path=${at('odd.img')}`], /its size 1000 is not a multiple of the block size 512$/],
    ['unknown key', [socket, `--lun=path=${at('disk.img')},colour=red`], /unknown key "colour", expected one of id, /],
    ['unsupported value', [socket, '--lun=driver=null,werror=stop'], /werror=stop is not supported by this version$/],
    [
      'target:lun twice',
      [socket, '--lun=driver=null,id=a,target=1,lun=2', '--lun=driver=null,id=b,target=1,lun=2'],
      /target 1 lun 2 is given to both LUN "a" and LUN "b"$/,
    ],
    ['LUN id twice', [socket, '--lun=driver=null,id=a', '--lun=driver=null,id=a'], /LUN id "a" is used twice$/],
    ['mapping: no JSON', mapping('[{'), /iothread-vq-mapping is not JSON: /],
    ['mapping: no such IOThread', mapping('[{"iothread":"x"}]'), /IOThread "x" object does not exist$/],
    [
      'mapping: queue missing',
      mapping('[{"iothread":"io0","vqs":[0]}]'),
      /missing vq 1 IOThread assignment in iothread-vq-mapping$/,
    ],
    ['socket path too long', [`--socket-path=${long}`], /the socket path has \d+ bytes, the limit is 107$/],
    ['socket in use', [`--socket-path=${at('live')}`], /\/live: the socket is in use by a live process$/],
    [
      'control socket in use',
      [socket, `--control-socket=${at('live')}`],
      /\/live: the socket is in use by a live process$/,
    ],
    ['no socket', [`--socket-path=${at('disk.img')}`], /\/disk\.img: exists and is not a socket$/],
    ['descriptor that is not open', ['--fd=999'], /--fd=999: expected an open Unix stream socket$/],
    ['unknown option', ['--bogus'], /Unknown argument: bogus; see --help$/],
    [
      'metrics port',
      [socket, '--metrics-listen=192.0.2.1:1'],
      /metrics: cannot listen on 192\.0\.2\.1:1: no such address/,
    ],
  ]
  for (const [what, args, line] of cases) {
    const { code, stdout, stderr } = await finish(t, ...args)
    t.equal(code, 2, `${what}: ${stderr}`)
    t.equal(stdout, '', what)
    t.match(stderr, /^vhost-user-scsid: [^\n]+\n$/, `${what}: one line`)
    t.match(stderr.trimEnd(), line, what)
  }
  t.strictSame(readdirSync(dir).sort(), ['dir', 'disk.img', 'fifo', 'live', 'odd.img'], 'nothing is left behind')
})

t.test('serving, and the end', async (t) => {
  const { dir, at } = fixtures(t)
  const path = at('s')
  const child = start(t, `--socket-path=${path}`, '--socket-mode=0600', `--lun=path=${at('disk.img')}`)
  const [line] = await child.output('stdout', /^.+$/m, LIMIT_MS)
  t.match(line, `listening on ${path}; QEMU: qemu-system-x86_64 `)
  t.equal(lstatSync(path).mode & 0o777, 0o600)
  close(connectUnix(path))
  child.process.kill('SIGTERM')
  t.strictSame(await child.ended(LIMIT_MS), { code: 0, signal: null })
  t.strictSame(readdirSync(dir).sort(), ['dir', 'disk.img', 'fifo', 'odd.img'])
})

t.test('a killed daemon leaves a stale socket, which the next one replaces', async (t) => {
  const path = join(tempDir(t), 's')
  const first = start(t, `--socket-path=${path}`, '--lun=driver=null')
  await first.output('stdout', /^listening on/m, LIMIT_MS)
  t.match(await finish(t, `--socket-path=${path}`, '--lun=driver=null'), {
    code: 2,
    stderr: /^vhost-user-scsid: [^\n]+: the socket is in use by a live process\n$/,
  })
  await first.kill()
  t.ok(existsSync(path))
  const second = start(t, `--socket-path=${path}`, '--lun=driver=null')
  await second.output('stdout', /^listening on/m, LIMIT_MS)
  close(connectUnix(path))
  second.process.kill('SIGINT')
  t.strictSame(await second.ended(LIMIT_MS), { code: 0, signal: null })
  t.notOk(existsSync(path))
})

t.test('a connected descriptor: the end of the connection is the end', async (t) => {
  const args = [MAIN, '--fd=3', '--lun=driver=null']
  const child = new Child(t, 'vhost-user-scsid', process.execPath, args, 1)
  await child.output('stdout', /^serving fd 3$/m, LIMIT_MS)
  child.pipe(3).end()
  t.strictSame(await child.ended(LIMIT_MS), { code: 0, signal: null })
})

t.test('metrics', async (t) => {
  const daemon = await startDaemon(t, ['--lun=driver=null'])
  const connections = async () => (await daemon.metrics()).select('vhost_user_scsi_connections_total')
  t.match(await connections(), [{ value: 0 }])
  close(connectUnix(daemon.socketPath))
  await eventually(LIMIT_MS, 'the connection', async () => ((await connections())[0]?.value === 1 ? true : undefined))
  t.match(await daemon.stop(), { code: 0 })
})

t.test('ctl', async (t) => {
  const nowhere = join(tempDir(t), 'c')
  t.match(await finish(t, 'ctl', '--help'), { code: 0, stdout: /^vhost-user-scsid ctl .*queue-attach/s, stderr: '' })
  t.match(await finish(t, 'ctl', 'top'), {
    code: 2,
    stdout: '',
    stderr: /^vhost-user-scsid: ctl: unknown command "top"/,
  })
  t.strictSame(await finish(t, 'ctl', 'status', `--control-socket=${nowhere}`), {
    code: 1,
    stdout: '',
    stderr: `vhost-user-scsid: ctl status: ${nowhere}: there is no such socket: expected the control socket of a running daemon (the daemon's --control-socket)\n`,
  })
  t.match(await finish(t, '--help'), { code: 0, stdout: /ctl --help/ })
})

t.test('--print-capabilities wins over everything', async (t) => {
  for (const args of [[], ['--bogus', '--fd=x', '--lun=path=/nonexistent'], ['--help']]) {
    const { code, stdout, stderr } = await finish(t, ...args, '--print-capabilities')
    t.strictSame({ code, stderr }, { code: 0, stderr: '' })
    t.strictSame(JSON.parse(stdout), { type: 'scsi' })
  }
})
