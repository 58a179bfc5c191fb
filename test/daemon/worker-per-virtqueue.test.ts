// Which thread serves which queue, as a running daemon shows it: by its names, its CPUs, and by what stands still when a
// thread does.
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { getAffinity } from 'memfd-mmap'
import t, { type Test } from 'tap'
import { Child } from '../support/child.js'
import { startConfigured } from '../support/configured-daemon.js'
import { type Daemon, startDaemon } from '../support/daemon.js'
import { within } from '../support/deadline.js'
import { HeldThread } from '../support/held-thread.js'
import type { Teardown } from '../support/teardown.js'
import { tempDir } from '../support/temp-dir.js'
import { Initiator } from '../support/vhost/initiator.js'

t.setTimeout(240_000)

const PATIENCE = 30_000
const MAIN = fileURLToPath(new URL('../../daemon/main.js', import.meta.url))
const TEST_UNIT_READY = { cdb: new Uint8Array(6), target: 0, lun: 0 }
const MEMORY = (id: string) => ({ id, driver: 'memory', size: '4M' })

/** Names of the threads of a process: kernel thread id -> name. */
function threadsOf(pid: number): Map<number, string> {
  const task = `/proc/${pid}/task`
  return new Map(
    readdirSync(task).map((tid) => [Number(tid), readFileSync(join(task, tid, 'comm'), 'utf8').trim()] as const),
  )
}

interface Served {
  readonly iothread: string
  readonly tid: number
}

/** Which IOThread serves each queue of a controller, as the metrics tell. */
async function served(daemon: Daemon, controller: string): Promise<Served[]> {
  const samples = (await daemon.metrics()).select('vhost_user_scsi_queue_info', { controller })
  const queues: Served[] = []
  for (const { labels } of samples) {
    queues[Number(labels.queue)] = { iothread: labels.iothread!, tid: Number(labels.tid) }
  }
  return queues
}

async function connect(t: Teardown, daemon: Daemon, queues: number): Promise<Initiator> {
  const initiator = await Initiator.connect(daemon.socketPath, { queues, deadline: PATIENCE })
  t.teardown(() => initiator.close())
  await initiator.ready(0, 0)
  return initiator
}

interface Place {
  readonly initiator: Initiator
  readonly queue: number
}

/** Places whose commands are answered while thread `tid` stands still: [those that are, those that are not]. */
async function answeredWithout(t: Teardown, tid: number, places: readonly Place[], count: number): Promise<Place[]> {
  const held = await HeldThread.hold(t, tid)
  const answered: Place[] = []
  let enough: () => void = () => {}
  const others = new Promise<void>((resolve) => {
    enough = resolve
  })
  const all = places.map(async (place) => {
    const { status } = await place.initiator.submit(TEST_UNIT_READY, { queue: place.queue }).done
    if (status !== 0) throw new Error(`status ${status}`)
    answered.push(place)
    if (answered.length === count) enough()
  })
  await within(PATIENCE, 'the answers of the others', others)
  // A second round: an answer of the thread would have come by now.
  await Promise.all(answered.map(({ initiator, queue }) => initiator.scsi(TEST_UNIT_READY, { queue })))
  const result = [...answered]
  await held.release()
  await within(PATIENCE, 'the other answers', Promise.all(all))
  return result
}

t.test('worker-per-virtqueue: a thread for each request queue', async (t) => {
  const queues = 12
  const daemon = await startDaemon(t, [
    '--worker-per-virtqueue',
    `--num-queues=${queues}`,
    '--lun=id=disk0,driver=memory,size=4M',
  ])
  const initiator = await connect(t, daemon, queues)
  const info = await served(daemon, 'controller0')
  t.strictSame(
    info.map(({ iothread }) => iothread),
    Array.from({ length: queues }, (_, queue) => `controller0-vq${queue}`),
  )
  t.equal(new Set(info.map(({ tid }) => tid)).size, queues)
  const threads = threadsOf(daemon.pid)
  t.strictSame(
    info.map(({ tid }) => threads.get(tid)),
    info.map((_, queue) => (queue < 10 ? `controller0-vq${queue}` : `control~r0-vq${queue}`)),
    'the kernel shows which is which',
  )
  const names = [...threads.values()].filter((name) => /^(control|io\d)/.test(name))
  t.equal(names.length, queues, 'there are no others')
  const places = info.map((_, queue) => ({ initiator, queue }))
  for (const queue of [0, 1, queues - 1]) {
    const others = await answeredWithout(t, info[queue]!.tid, places, queues - 1)
    t.strictSame(
      others.map((place) => place.queue).sort((a, b) => a - b),
      places.map((place) => place.queue).filter((each) => each !== queue),
      `thread ${queue} serves queue ${queue}, and no other`,
    )
  }
  await initiator.close()
  t.match(await daemon.stop(), { code: 0 })
})

t.test('an IOThread of the config file serves queues of two controllers', async (t) => {
  const place = (id: string) => [{ id, target: 0, lun: 0 }]
  const mapping = [
    { iothread: 'io1', vqs: [1] },
    { iothread: 'io0', vqs: [2, 0] },
  ]
  const daemons = await startConfigured(t, {
    iothreads: [{ id: 'io0' }, { id: 'io1' }, { id: 'io2' }],
    luns: [MEMORY('disk0'), MEMORY('disk1')],
    controllers: [
      { id: 'mapped', 'iothread-vq-mapping': mapping, luns: place('disk0') },
      { id: 'single', iothread: 'io0', 'num-queues': 2, luns: place('disk1') },
    ],
  })
  const initiators = [await connect(t, daemons[0]!, 3), await connect(t, daemons[1]!, 2)] as const
  const mapped = await served(daemons[0]!, 'mapped')
  const single = await served(daemons[1]!, 'single')
  t.strictSame(
    [mapped, single].map((queues) => queues.map(({ iothread }) => iothread)),
    [
      ['io0', 'io1', 'io0'],
      ['io0', 'io0'],
    ],
  )
  const threads = threadsOf(daemons[0]!.pid)
  for (const { iothread, tid } of [...mapped, ...single]) t.equal(threads.get(tid), iothread)
  const tid = mapped[0]!.tid
  t.equal(single[0]!.tid, tid, 'one thread')
  const places = [
    ...mapped.map((_, queue) => ({ initiator: initiators[0], queue })),
    ...single.map((_, queue) => ({ initiator: initiators[1], queue })),
  ]
  const others = await answeredWithout(t, tid, places, 1)
  t.equal(others.length, 1)
  t.equal(others[0], places[1], 'the queue of the other IOThread')
  for (const initiator of initiators) await initiator.close()
  t.match(await daemons[0]!.stop(), { code: 0 })
})

t.test('an IOThread is bound to its CPUs, and nothing else is', async (t) => {
  const cpus = getAffinity(0)
  const last = cpus.at(-1)!
  const daemon = await startDaemon(t, [
    `--iothread=id=bound,cpus=${last}`,
    '--iothread=id=free',
    '--num-queues=2',
    '--lun=id=disk0,driver=memory,size=4M',
  ])
  const byName = new Map([...threadsOf(daemon.pid)].map(([tid, name]) => [name, tid]))
  const status = readFileSync(`/proc/${daemon.pid}/task/${byName.get('bound')}/status`, 'utf8')
  t.match(status, new RegExp(`^Cpus_allowed_list:\\t${last}$`, 'm'))
  t.strictSame(getAffinity(byName.get('bound')!), [last])
  t.strictSame(getAffinity(byName.get('free')!), cpus)
  t.strictSame(getAffinity(daemon.pid), cpus, 'the main loop')
  t.match(await daemon.stop(), { code: 0 })
})

/** Runs the program to its end, which has to be exit status 2 with one line. */
async function refused(t: Test, args: readonly string[]): Promise<string> {
  const socket = `--socket-path=${join(tempDir(t), 's')}`
  const child = new Child(t, 'vhost-user-scsid', process.execPath, [MAIN, socket, ...args])
  t.match(await child.ended(PATIENCE), { code: 2 })
  t.equal(child.stdout, '')
  const [line, ...more] = child.stderr.split('\n')
  t.strictSame(more, [''], 'one line')
  return line!
}

t.test('what cannot be served by an IOThread, or on its CPUs, is refused', async (t) => {
  const mapping = (value: unknown) => ['--iothread=id=io0', `--iothread-vq-mapping=${JSON.stringify(value)}`]
  const fixed = (where: string) =>
    `Parameter '${where}' is not possible: the control and the event queue always run on the main loop; ` +
    'only request queues, numbered from 0, can be assigned'
  for (const name of ['ctrl', 'event']) {
    const vqs = mapping([{ iothread: 'io0', vqs: [0, name] }])
    t.match(await refused(t, vqs), fixed('iothread-vq-mapping[0].vqs[1]'))
    t.match(await refused(t, mapping([{ iothread: 'io0', [name]: true }])), fixed(`iothread-vq-mapping[0].${name}`))
  }
  t.match(
    await refused(t, ['--iothread=id=io0,cpus=1023']),
    /^vhost-user-scsid: iothread "io0" on CPUs 1023: cannot be started: EINVAL$/,
  )
})
