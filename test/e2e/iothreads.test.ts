import { existsSync, statfsSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { threadTimes, threadUse } from '../bench/thread-times.js'
import { Ctl } from '../support/ctl.js'
import { type Daemon, startDaemon } from '../support/daemon.js'
import { eventually } from '../support/deadline.js'
import { Background } from '../support/guest/background.js'
import type { RunResult } from '../support/guest/channel.js'
import { FioLoad, verifiedWrites } from '../support/guest/fio-load.js'
import { type Guest, startGuest } from '../support/guest/guest.js'
import { noErrorInGuest, verified } from '../support/guest/load-check.js'
import { progress, requestsOf } from '../support/guest/progress.js'
import { vhostUserScsi } from '../support/guest/qemu.js'
import { guestTest } from '../support/guest/requirements.js'
import { CommandResults, DID_RESET } from '../support/guest/scsi-results.js'
import { sparseImage } from '../support/image.js'
import type { Metrics } from '../support/prometheus.js'
import { tempDir } from '../support/temp-dir.js'

t.setTimeout(480_000)

const PROGRAMS = ['fio', 'sg_reset']
const CONTROLLER = 'controller0'
const QUEUES = [0, 1]
const PATIENCE = 60_000
const MEBIBYTES = 6
const RESETS = 4
const MOST_RESETS = 20
const DEPTH = 32
const SLOW_READS = 200
const ROUNDS = 5
const IDLE_SECONDS = 10

/** statfs(2): a file system without a disk, where no write takes long enough for a reset to meet it. */
const TMPFS_MAGIC = 0x01021994

interface Queue {
  queue: number
  iothread: string
  tid: number
  moves: number
}

interface Iothread {
  id: string
  tid: number
  queues: { controller: string; queue: number }[]
}

interface Move {
  queue: number
  from: string
  to: string
  'pause-ns': number
}

const errorsOf = (metrics: Metrics, labels: Record<string, string>): number =>
  metrics.sum('vhost_user_scsi_errors_total', labels)

/** The requests that each IOThread has fetched. */
const fetched = (metrics: Metrics): Record<string, number> =>
  Object.fromEntries(
    metrics
      .select('vhost_user_scsi_iothread_requests_total')
      .map(({ labels, value }) => [labels.iothread ?? '', value] as const),
  )

/**
 * Resets a disk that verifiedWrites write to with a depth of DEPTH while requests of both queues are in flight: the
 * daemon stands still from when they are there until the guest has asked for the reset.
 */
const resetWrites = async (daemon: Daemon, guest: Guest, disk: string): Promise<RunResult> => {
  const { process } = daemon.child
  const resets = "dmesg | grep -c ': device reset$' || true"
  let reset: Background
  try {
    await eventually(PATIENCE, 'writes of both queues', async () => {
      process.kill('SIGSTOP')
      const writes = await guest.check(`read -r reads writes < /sys/block/${disk}/inflight; echo "$writes"`)
      if (Number(writes) > DEPTH) return true
      process.kill('SIGCONT')
      return undefined
    })
    const before = Number(await guest.check(resets))
    reset = await Background.start(guest, `sg_reset -d /dev/${disk}`)
    await guest.check(`until [ "$(${resets})" -gt ${before} ]; do sleep 0.01; done`)
  } finally {
    process.kill('SIGCONT')
  }
  return reset.ended(PATIENCE)
}

t.test('task management and IOThreads of a guest', guestTest(PROGRAMS), async (t) => {
  const directory = tempDir(t)
  const control = join(directory, 'control.sock')
  const image = (name: string): string => sparseImage(directory, name, 2 * MEBIBYTES)
  const daemon = await startDaemon(t, [
    `--control-socket=${control}`,
    `--num-queues=${QUEUES.length}`,
    ...['--iothread=id=io0', '--iothread=id=io1'],
    `--lun=id=cached0,target=0,lun=0,path=${image('cached.img')}`,
    // Each write waits for the disk, so that there is I/O in flight whenever it is looked for
    `--lun=id=through0,target=0,lun=1,path=${image('through.img')},write-cache=off`,
    '--lun=id=slow0,target=1,lun=0,driver=null,size=1G,delay-us=100000',
  ])
  const ctl = new Ctl(t, control)
  const guest = await startGuest(t, {
    devices: vhostUserScsi(daemon.socketPath, QUEUES.length),
    programs: PROGRAMS,
    memory: '768M',
    cpus: QUEUES.length,
    report: () => daemon.child.report(),
  })
  const cached = await guest.disk(0, 0)
  const through = await guest.disk(0, 1)
  const slow = await guest.disk(1, 0)

  await t.test('resets meet I/O in flight', async (t) => {
    const results = await CommandResults.start(guest)
    const before = await daemon.metrics()
    const load = await FioLoad.start(guest, verifiedWrites([through], MEBIBYTES, DEPTH))
    // What has no content can't be verified, but each of its requests ends, and ends well
    const unverified = await FioLoad.start(guest, {
      options: `--iodepth=16 --rw=randread --bs=4k --number_ios=${SLOW_READS}`,
      jobs: QUEUES.map((cpu) => `--name=slow-cpu${cpu} --filename=/dev/${slow} --size=1g --cpus_allowed=${cpu}`),
    })
    const done = { status: 0, stdout: '', stderr: '' }
    const units = [
      { lun: 'through0', disk: through, op: 'write', mayBeNone: statfsSync(directory).type === TMPFS_MAGIC },
      { lun: 'slow0', disk: slow, op: 'read', mayBeNone: false },
    ]
    /** What the resets have ended so far, for each unit on each queue. */
    const ended = async (): Promise<{ lun: string; queue: number; count: number; enough: boolean }[]> => {
      const now = await daemon.metrics()
      return units.flatMap(({ lun, op, mayBeNone }) =>
        QUEUES.map((queue) => {
          const labels = { queue: `${queue}`, lun, op }
          const count = errorsOf(now, labels) - errorsOf(before, labels)
          return { lun, queue, count, enough: count > 0 || mayBeNone }
        }),
      )
    }
    const hasMetAll = async (): Promise<boolean> => (await ended()).every(({ enough }) => enough)
    // A reset can come just between two runs of fio
    for (let i = 0; i < RESETS || (i < MOST_RESETS && !(await hasMetAll())); i++) {
      await progress(daemon, QUEUES, 20)
      t.same(await resetWrites(daemon, guest, through), done, 'reset while writes are in flight')
      t.same(await guest.run(`sg_reset -d /dev/${slow}`), done, 'reset whatever is in flight')
      t.same(await guest.run(`sg_reset -N -d /dev/${through}`), done, 'and without escalation')
    }

    // virtio_scsi has no handlers for these, and says so; a later one may have
    for (const [option, what] of [
      ['-t', 'target'],
      ['-b', 'bus'],
      ['-H', 'host'],
    ]) {
      const { status, stderr } = await guest.run(`sg_reset ${option} /dev/${through}`)
      t.comment(`sg_reset ${option} (${what}): ${status === 0 ? 'done' : stderr.trim()}`)
      t.ok(status === 0 || /may not be available/.test(stderr), `${what} reset: done, or not to be had`, { stderr })
    }
    await progress(daemon, QUEUES, 50)
    await verified(t, load, MEBIBYTES)
    for (const { jobname, error, read } of await unverified.stop()) {
      t.same({ error, ios: read.total_ios }, { error: 0, ios: SLOW_READS }, `each request of ${jobname} has ended`)
    }

    const after = await daemon.metrics()
    for (const { lun, queue, count, enough } of await ended()) {
      t.ok(enough, `resets have ended ${count} requests of ${lun} in the IOThread of queue ${queue}`)
    }
    for (const { lun, disk } of units) {
      const seen = await results.of(disk)
      t.comment(`${lun}: the guest has seen ${seen.get(DID_RESET) ?? 0} requests end with RESET, and retried them`)
      const failed = [...seen].reduce((sum, [result, count]) => (result === 0 ? sum : sum + count), 0)
      const told = errorsOf(after, { lun }) - errorsOf(before, { lun })
      t.equal(failed, told, 'the guest has seen as many fail as the daemon has, unit attentions among them')
    }
    await results.stop()
    await noErrorInGuest(t, guest)
  })

  await t.test('queues move to other IOThreads under load', async (t) => {
    const before = await daemon.metrics()
    const queueList = async (): Promise<Queue[]> =>
      (await ctl.json<Queue[]>('queues')).map(({ queue, iothread, tid, moves }) => ({ queue, iothread, tid, moves }))
    const iothreadList = (): Promise<Iothread[]> => ctl.json('iothreads')
    const initial = await queueList()
    t.same(
      initial.map(({ iothread }) => iothread),
      ['io0', 'io1'],
      'round robin',
    )
    const added = await ctl.json<Iothread>('iothread-add', '--id=fast')
    t.match(added, { id: 'fast', queues: [] }, 'an IOThread more')
    t.ok(existsSync(`/proc/${daemon.pid}/task/${added.tid}`), 'a thread of the daemon')
    const load = await FioLoad.start(guest, verifiedWrites([cached, through], MEBIBYTES))
    await progress(daemon, QUEUES, 50)

    const serving = initial.map(({ iothread }) => iothread)
    const moved = QUEUES.map(() => 0)
    const pauses: number[] = []
    const attach = async (queues: readonly number[], to: string): Promise<void> => {
      const word = queues.length === QUEUES.length ? 'all' : queues.join(',')
      const moves = await ctl.json<Move[]>('queue-attach', CONTROLLER, word, to)
      t.match(
        moves,
        queues.map((queue) => ({ queue, from: serving[queue], to })),
        `${word} to ${to}`,
      )
      for (const { queue, from, 'pause-ns': pause } of moves) {
        serving[queue] = to
        if (from === to) continue
        t.ok(pause > 0, `queue ${queue} moved from ${from} to ${to}`)
        pauses.push(pause)
        moved[queue]!++
      }
    }
    const iothreads = ['fast', 'io0', 'io1']
    for (let round = 0; round < ROUNDS; round++) {
      await attach(QUEUES, iothreads[round % iothreads.length]!)
      await attach([round % QUEUES.length], iothreads[(round + 2) % iothreads.length]!)
      await progress(daemon, QUEUES, 20)
    }
    await attach(QUEUES, 'fast')

    const settled = await daemon.metrics()
    await progress(daemon, QUEUES, 100)
    const now = await daemon.metrics()
    const counts = [before, settled, now].map(fetched)
    t.comment('requests of each IOThread: before, after the moves, at last', counts)
    for (const id of ['io0', 'io1']) {
      t.ok(counts[1]![id]! > counts[0]![id]!, `${id} has served while queues were its`)
      t.equal(counts[2]![id], counts[1]![id], 'and nothing since')
    }
    t.ok(counts[2]!.fast! >= counts[1]!.fast! + 200, 'fast serves both queues')
    const both = await queueList()
    t.same(
      both.map(({ moves, ...place }) => ({ ...place, moves: moves - initial[place.queue]!.moves })),
      initial.map((each, queue) => ({ ...each, iothread: 'fast', tid: added.tid, moves: moved[queue] })),
      'queues tells where they are now',
    )
    const served = QUEUES.map((queue) => ({ controller: CONTROLLER, queue }))
    t.same(
      (await iothreadList()).map(({ id, queues }) => ({ id, queues })),
      [
        { id: 'io0', queues: [] },
        { id: 'io1', queues: [] },
        { id: 'fast', queues: served },
      ],
      'iothreads tells it too',
    )

    t.match(
      await ctl.run('iothread-free', 'fast'),
      { status: 1, stdout: '', stderr: /serves 2 queues.*\(EBUSY\)\n$/ },
      'refused',
    )
    await attach([0], 'io1')
    await attach([1], 'io0')
    t.same(await ctl.run('iothread-free', 'fast'), { status: 0, stdout: 'fast: freed\n', stderr: '' }, 'and freed')
    await eventually(
      PATIENCE,
      'the end of the thread',
      () => !existsSync(`/proc/${daemon.pid}/task/${added.tid}`) || undefined,
    )
    await progress(daemon, QUEUES, 50)
    const [io0, io1, ...others] = await iothreadList()
    t.same(others, [], 'two are left')
    const table = new RegExp(
      `^CONTROLLER .*\\n${CONTROLLER} +0 +io1 +${io1?.tid} .*\\n${CONTROLLER} +1 +io0 +${io0?.tid} .*\\n$`,
    )
    t.match(await ctl.run('queues'), { status: 0, stdout: table, stderr: '' }, 'the table tells it')

    await verified(t, load, MEBIBYTES)
    const after = await daemon.metrics()
    for (const lun of ['cached0', 'through0']) {
      t.equal(errorsOf(after, { lun }), errorsOf(before, { lun }), `no request of ${lun} has failed`)
    }
    t.equal(after.sum('vhost_user_scsi_faults_total'), 0, 'no fault of a ring or a request')
    await noErrorInGuest(t, guest)
    pauses.sort((a, b) => a - b)
    const [median, most] = [pauses[pauses.length >> 1]!, pauses.at(-1)!].map((ns) => `${(ns / 1e6).toFixed(2)} ms`)
    t.comment(`${pauses.length} moves, pause: median ${median}, at most ${most}`)
  })

  await t.test('idle', async (t) => {
    const before = await daemon.metrics()
    const times = threadTimes(daemon.pid)
    const start = performance.now()
    await guest.check(`sleep ${IDLE_SECONDS}`)
    const now = threadTimes(daemon.pid)
    const seconds = (performance.now() - start) / 1000
    const after = await daemon.metrics()
    for (const queue of QUEUES) t.equal(requestsOf(after, queue), requestsOf(before, queue), 'the guest was idle')
    const percent = (of?: (name: string) => boolean): string =>
      `${(100 * threadUse(times, now, seconds, of).cpu).toFixed(3)} %`
    const names = [...new Set([...now.values()].map(({ name }) => name))]
    const each = names.map((name) => `${name} ${percent((other) => other === name)}`)
    t.comment(`the daemon took ${percent()} of a CPU in ${seconds.toFixed(1)} s: ${each.join(', ')}`)
  })

  await t.test('end', async (t) => {
    await guest.powerOff()
    t.same(await daemon.stop(), { code: 0, signal: null })
    t.notOk(existsSync(control))
  })
})
