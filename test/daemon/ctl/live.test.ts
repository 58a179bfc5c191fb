/** ctl and a real daemon: queues that move between IOThreads under load, images that grow. */
import { existsSync, readFileSync, statSync, truncateSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { runCtl } from '../../../daemon/ctl/run-ctl.js'
import { startDaemon } from '../../support/daemon.js'
import { eventually, within } from '../../support/deadline.js'
import { sparseImage } from '../../support/image.js'
import { tempDir } from '../../support/temp-dir.js'
import { Initiator } from '../../support/vhost/initiator.js'
import { VerifiedLoad } from '../../support/vhost/verified-load.js'

t.setTimeout(240_000)

const PATIENCE = 60_000
const QUEUES = [0, 1]
const MIB = 2 ** 20

async function live(t: Test) {
  const directory = tempDir(t)
  const image = sparseImage(directory, 'disk.img', 4)
  const socket = join(directory, 'control.sock')
  const daemon = await startDaemon(t, [
    `--control-socket=${socket}`,
    '--num-queues=2',
    '--iothread=id=io0',
    `--lun=id=root,path=${image}`,
    '--lun=id=scratch,driver=memory,size=4M',
  ])
  const ctl = (...args: string[]) => runCtl([`--control-socket=${socket}`, ...args], {})
  const json = async <T>(...args: string[]): Promise<T> => {
    const { status, stdout, stderr } = await ctl('--json', ...args)
    if (status !== 0) throw new Error(`${args.join(' ')}: ${stderr}`)
    return JSON.parse(stdout) as T
  }
  return { daemon, image, socket, ctl, json }
}

type Live = Awaited<ReturnType<typeof live>>

async function connect(t: Test, { daemon }: Live): Promise<Initiator> {
  const initiator = await Initiator.connect(daemon.socketPath, {
    queues: QUEUES.length,
    ringSize: 256,
    deadline: PATIENCE,
  })
  t.teardown(() => initiator.close())
  for (const lun of [0, 1]) for (const queue of QUEUES) await initiator.ready(0, lun, { queue })
  return initiator
}

interface QueueState {
  iothread: string
  tid: number
  started: boolean
  moves: number
  counters: { requests: number; errors: number; faults: number }
}

const queueStates = ({ json }: Live): Promise<QueueState[]> => json<QueueState[]>('queues')

/** Waits until each queue has ended so many requests more. */
async function progress(at: Live, requests: number): Promise<void> {
  const from = await queueStates(at)
  await eventually(PATIENCE, `${requests} requests more on each queue`, async () => {
    const now = await queueStates(at)
    return now.every(({ counters }, i) => counters.requests >= from[i]!.counters.requests + requests) || undefined
  })
}

t.test('a daemon that serves nobody', async (t) => {
  const at = await live(t)
  const { ctl, daemon, socket } = at
  t.equal(statSync(socket).mode & 0o777, 0o600)
  t.match(await at.json('status'), {
    pid: daemon.pid,
    node: process.version,
    ready: true,
    controllers: [{ id: 'controller0', address: daemon.socketPath, connected: false, queues: 2, 'started-queues': 0 }],
  })
  t.match(await at.json('iothreads'), [{ id: 'io0', origin: 'configuration', cpus: null, 'poll-max-ns': 32768 }])
  t.match(await queueStates(at), [
    { iothread: 'io0', started: false },
    { iothread: 'io0', started: false },
  ])
  t.match(await ctl('queues'), {
    status: 0,
    stdout: /^CONTROLLER .*\ncontroller0 +0 +io0 .*\ncontroller0 +1 +io0 .*\n$/,
  })
  t.match(await ctl('queue-attach', 'controller0', '0', 'io0'), { status: 0, stdout: /io0 +io0 +-\n$/ })
  t.match(await daemon.stop(), { code: 0 })
  t.notOk(existsSync(socket), 'the socket has gone with the daemon')
})

t.test('queues change their IOThread under load', async (t) => {
  const at = await live(t)
  const { ctl, daemon } = at
  const comm = (tid: number) => `/proc/${daemon.pid}/task/${tid}/comm`
  const [first] = await at.json<{ tid: number }[]>('iothreads')
  const initiator = await connect(t, at)
  t.match(await at.json('status'), { controllers: [{ connected: true, 'started-queues': 2 }] })
  const idle = await queueStates(at)
  const loads = [0, 1].map((lun) => new VerifiedLoad(initiator, { queues: QUEUES, depth: 16, lun }))

  const added = await at.json<{ id: string; tid: number }>('iothread-add', '--id=fast', '--cpus=0', '--poll-max-ns=0')
  t.match(added, { id: 'fast', origin: 'control', cpus: [0], 'poll-max-ns': 0, queues: [] })
  t.equal(readFileSync(comm(added.tid), 'utf8'), 'fast\n')
  t.match(await ctl('iothread-add', '--id=fast'), { status: 1, stderr: /\(EEXIST\)\n$/ })
  t.match(await ctl('iothread-add', '--cpus=1023'), { status: 1, stderr: /\(EINVAL\)\n$/ })

  for (const to of ['fast', 'io0', 'fast']) {
    const moves = await at.json<{ to: string; 'pause-ns': number }[]>('queue-attach', 'controller0', 'all', to)
    t.match(moves, [
      { queue: 0, to },
      { queue: 1, to },
    ])
    t.ok(
      moves.every((move) => move['pause-ns'] > 0),
      `pauses: ${moves.map((move) => move['pause-ns']).join(', ')} ns`,
    )
    await progress(at, 20)
  }
  const after = await queueStates(at)
  t.match(
    after,
    QUEUES.map(() => ({ iothread: 'fast', tid: added.tid, started: true })),
  )
  t.same(
    after.map(({ moves }) => moves),
    [3, 3],
  )
  t.match(await at.json('queue-worker', 'controller0', '1'), { iothread: 'fast', tid: added.tid })

  t.match(await ctl('iothread-free', 'fast'), { status: 1, stderr: /serves 2 queues.* \(EBUSY\)\n$/ })
  t.match(await ctl('queue-attach', 'controller0', 'all', 'nobody'), { status: 1, stderr: /\(ENODEV\)\n$/ })
  t.match(await ctl('queue-attach', 'controller0', '2', 'fast'), { status: 1, stderr: /\(ENOBUFS\)\n$/ })
  t.match(await ctl('queue-attach', 'nobody', '0', 'fast'), { status: 1, stderr: /\(ENOENT\)\n$/ })
  t.match(await ctl('iothread-free', 'io0'), { status: 0, stdout: 'io0: freed\n' })
  await eventually(PATIENCE, 'the end of the thread', () => (existsSync(comm(first!.tid)) ? undefined : true))
  t.match(await ctl('iothread-free', 'io0'), { status: 1, stderr: /\(ENODEV\)\n$/ })
  await progress(at, 20)

  for (const load of loads) t.ok((await within(PATIENCE, 'the end of the load', load.stop())) > 0, 'verified')
  const end = await queueStates(at)
  t.same(
    end.map(({ counters: { errors, faults } }) => [errors, faults]),
    idle.map(({ counters: { errors } }) => [errors, 0]),
    'no error since the unit attentions of the start',
  )
  const handled = end.map(({ counters }, i) => counters.requests - idle[i]!.counters.requests)
  t.same(
    handled,
    QUEUES.map((queue) => loads.reduce((sum, load) => sum + load.submitted[queue]!, 0)),
    'what the queues were given, each request once',
  )
})

t.test('an image grows', async (t) => {
  const at = await live(t)
  await connect(t, at)
  t.match(await at.json('luns'), [
    { id: 'root', driver: 'file', path: at.image, size: 4 * MIB, 'write-fault': false },
    { id: 'scratch', driver: 'memory', path: null, size: 4 * MIB },
  ])
  t.match(await at.ctl('lun-refresh', 'root'), { status: 0, stdout: 'root: 4 MiB, as before\n' })
  truncateSync(at.image, 6 * MIB)
  t.match(await at.json('lun-refresh', 'root'), { size: 6 * MIB, grown: true })
  t.match(await at.json('luns'), [{ id: 'root', size: 6 * MIB }, { id: 'scratch' }])
  truncateSync(at.image, 4 * MIB)
  t.match(await at.ctl('lun-refresh', 'root'), { status: 1, stderr: /\(EINVAL\)\n$/ })
  t.match(await at.ctl('lun-refresh', 'scratch'), { status: 1, stderr: /\(ENOTSUP\)\n$/ })
  t.match(await at.ctl('lun-refresh', 'x'), { status: 1, stderr: /\(ENOENT\)\n$/ })
  t.match(await at.ctl('lun-clear-fault', 'root'), { status: 0 })
  t.match(await at.ctl('lun-clear-fault', 'x'), { status: 1, stderr: /\(ENOENT\)\n$/ })
})
