import { join } from 'node:path'
import t from 'tap'
import { ControlServer } from '../../../daemon/control/server.js'
import { ControlError } from '../../../daemon/control/target.js'
import { runCtl } from '../../../daemon/ctl/run-ctl.js'
import type { Log } from '../../../daemon/log.js'
import { FakeControlTarget } from '../../support/control-target.js'
import type { Teardown } from '../../support/teardown.js'
import { tempDir } from '../../support/temp-dir.js'

const LOG = { debug() {}, error() {} } as unknown as Log

/** A control server with nothing but a target behind it, and ctl on its socket. */
async function served(t: Teardown) {
  const target = new FakeControlTarget()
  const path = join(tempDir(t), 'control.sock')
  const server = await ControlServer.listen(path, target, LOG)
  t.teardown(() => server.close())
  const ctl = (...args: string[]) => runCtl(args, { VHOST_USER_SCSID_CONTROL_SOCKET: path })
  return { target, ctl }
}

t.test('tables, or what the API answers', async (t) => {
  const { target, ctl } = await served(t)
  const cases: [string[], unknown, RegExp][] = [
    [['status'], target.status(), /^version +1\.2\.3\n.*vm +yes +4 +2 +\/run\/vm\.sock\n/s],
    [['iothreads'], target.iothreads(), /\nio0 +5048 +io_uring +0-2\+6 .* vm:0,2\n/],
    [['queues'], target.queues(), /\nvm +1 +io1 +5001 +yes +256 /],
    [['luns'], target.luns(), /\nroot +file +20 GiB +512 +read-write +yes +vm:0:0 +\/srv\/root\.img\n/],
    [['queue-worker', 'vm', '3'], target.queue('vm', 3), /\nvm +3 +io1 +5003 +no +- /],
  ]
  for (const [args, answer, text] of cases) {
    t.match(await ctl(...args), { status: 0, stdout: text, stderr: '' }, args.join(' '))
    const { status, stdout, stderr } = await ctl(...args, '--json')
    t.strictSame([status, JSON.parse(stdout), stderr], [0, answer, ''], `${args.join(' ')} --json`)
  }
  t.strictSame(target.calls, [])
})

t.test('changes', async (t) => {
  const { target, ctl } = await served(t)
  const add = ['iothread-add', '--id=fast', '--cpus=0-2', '--poll-max-ns=0', '--poll-grow=3', '--poll-shrink=4']
  t.match(await ctl(...add), { status: 0, stdout: /\nfast .* 0-2 +off .* control / })
  t.match(await ctl('iothread-add'), { status: 0, stdout: /\nio3 / }, 'a name is picked')
  t.match(await ctl('queue-attach', 'vm', '0,2-3', 'fast'), {
    status: 0,
    stdout: /^CONTROLLER .*\nvm +0 +io0 +fast +123\.5 us\nvm +2 +io0 .*\nvm +3 +io1 .*\n$/,
    stderr: '',
  })
  const all = await ctl('queue-attach', '--json', 'vm', 'all', 'io0')
  t.match(JSON.parse(all.stdout), [
    { queue: 0, from: 'fast', to: 'io0' },
    { queue: 1, from: 'io1' },
    { queue: 2 },
    { queue: 3, 'pause-ns': 123456 },
  ])
  t.strictSame(await ctl('iothread-free', 'io3'), { status: 0, stdout: 'io3: freed\n', stderr: '' })
  t.strictSame(
    await ctl('iothread-free', 'fast', '--json'),
    { status: 0, stdout: '', stderr: '' },
    'no answer, no text',
  )
  t.strictSame(await ctl('lun-attach', 'spare', 'root', '--target=2', '--read-only=on'), {
    status: 0,
    stdout: 'root: attached to spare at target 2 lun 7, read-only\n',
    stderr: '',
  })
  t.strictSame(await ctl('lun-detach', 'spare', 'root'), {
    status: 0,
    stdout: 'root: detached from spare\n',
    stderr: '',
  })
  t.strictSame(await ctl('lun-refresh', 'root'), { status: 0, stdout: 'root: 21 GiB, grown\n', stderr: '' })
  t.match(JSON.parse((await ctl('lun-refresh', 'root', '--json')).stdout), { size: 22 * 2 ** 30, grown: true })
  t.match(await ctl('lun-clear-fault', 'root'), { status: 0, stdout: 'root: no write fault\n' })
  t.strictSame(target.calls, [
    'addIothread {"id":"fast","cpus":[0,1,2],"poll-max-ns":0,"poll-grow":3,"poll-shrink":4}',
    'addIothread {}',
    ...[0, 2, 3].map((queue) => `attachQueue vm ${queue} fast`),
    ...[0, 1, 2, 3].map((queue) => `attachQueue vm ${queue} io0`),
    'freeIothread io3',
    'freeIothread fast',
    'attachLun spare {"id":"root","target":2,"read-only":true}',
    'detachLun spare root',
    'refreshLun root',
    'refreshLun root',
    'clearFault root',
  ])
})

t.test('refusals end with status 1 and one line', async (t) => {
  const { ctl } = await served(t)
  const cases: [string[], string][] = [
    [['iothread-free', 'io0'], 'ctl iothread-free: IOThread "io0" serves 2 queues (EBUSY)'],
    [['iothread-free', 'x'], 'ctl iothread-free: there is no IOThread "x" (ENODEV)'],
    [['iothread-add', '--id=io0'], 'ctl iothread-add: IOThread "io0" is there already (EEXIST)'],
    [['queue-attach', 'vm', '9', 'io1'], 'ctl queue-attach: controller "vm" has no queue 9 (ENOBUFS)'],
    [['queue-attach', 'vm', '0', 'x'], 'ctl queue-attach: there is no IOThread "x" (ENODEV)'],
    [['queue-attach', 'x', 'all', 'io1'], 'ctl queue-attach: controller "x" does not exist (ENOENT)'],
    [['queue-worker', 'x', '0'], 'ctl queue-worker: there is no controller "x" (ENOENT)'],
    [['lun-refresh', 'scratch'], 'ctl lun-refresh: LUN "scratch" has a fixed size (ENOTSUP)'],
    [['lun-clear-fault', 'a/b?c'], 'ctl lun-clear-fault: there is no LUN "a/b?c" (ENOENT)'],
  ]
  for (const [args, message] of cases) {
    const outcome = await ctl(...args)
    t.strictSame([outcome.status, outcome.stderr], [1, `vhost-user-scsid: ${message}\n`], args.join(' '))
  }
  t.match(await ctl('iothread-free', '..'), { status: 1, stderr: /\(VUS_NOT_FOUND\)\n$/ }, 'a name is no path')
})

t.test('what was moved before a refusal is shown', async (t) => {
  const { target, ctl } = await served(t)
  const attach = target.attachQueue.bind(target)
  target.attachQueue = async (controller, queue, iothread) => {
    if (queue === 2) throw new ControlError('EIO', 'line one\nline two')
    return attach(controller, queue, iothread)
  }
  t.match(await ctl('queue-attach', 'vm', 'all', 'io1'), {
    status: 1,
    stdout: /^CONTROLLER .*\nvm +0 .*\nvm +1 .*\n$/,
    stderr: 'vhost-user-scsid: ctl queue-attach: line one\\nline two (EIO)\n',
  })
  const { status, stdout } = await ctl('queue-attach', 'vm', 'all', 'io1', '--json')
  t.equal(status, 1)
  t.match(JSON.parse(stdout), [{ queue: 0 }, { queue: 1 }])
  t.strictSame(target.calls.length, 4, 'and nothing after it was tried')
})

t.test('nobody there, and bad usage', async (t) => {
  const path = join(tempDir(t), 'x.sock')
  t.match(await runCtl(['status', `--control-socket=${path}`], {}), {
    status: 1,
    stdout: '',
    stderr: `vhost-user-scsid: ctl status: ${path}: there is no such socket: expected the control socket of a running daemon (the daemon's --control-socket)\n`,
  })
  t.match(await runCtl(['status'], {}), {
    status: 2,
    stdout: '',
    stderr: /^vhost-user-scsid: ctl: expected --control-/,
  })
  t.match(await runCtl(['top'], {}), { status: 2, stderr: /^vhost-user-scsid: ctl: unknown command "top"/ })
  t.match(await runCtl(['--help'], {}), { status: 0, stdout: /^vhost-user-scsid ctl /, stderr: '' })
})
