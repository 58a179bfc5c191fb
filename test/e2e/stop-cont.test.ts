import t, { type Test } from 'tap'
import { type Daemon, startDaemon } from '../support/daemon.js'
import { followLog, WARN } from '../support/daemon-log.js'
import { eventually } from '../support/deadline.js'
import { type Footprint, footprint, settledFootprint } from '../support/footprint.js'
import { FioLoad, verifiedWrites } from '../support/guest/fio-load.js'
import { startGuest } from '../support/guest/guest.js'
import { noErrorInDaemon, noErrorInGuest, verified } from '../support/guest/load-check.js'
import { progress } from '../support/guest/progress.js'
import { vhostUserScsi } from '../support/guest/qemu.js'
import { guestTest } from '../support/guest/requirements.js'
import { sparseImage } from '../support/image.js'
import { times } from '../support/long.js'
import type { Metrics } from '../support/prometheus.js'
import { tempDir } from '../support/temp-dir.js'

const PROGRAMS = ['fio']
const QUEUES = [0, 1]
/** Control, events, and the requests' ones. */
const RINGS = 2 + QUEUES.length
const MEBIBYTES = 6
const STOPS = Math.min(times(10), 50)
/** Long enough for requests to be in flight whenever the guest is stopped. */
const DELAY = 50_000
const SLOW_READS = 200
const PATIENCE = 30_000

t.setTimeout(600_000 + 30_000 * STOPS)

/** How many more requests IOThreads have fetched than have ended on a LUN. */
const inFlight = (metrics: Metrics): number =>
  metrics.sum('vhost_user_scsi_iothread_requests_total') - metrics.sum('vhost_user_scsi_requests_total')

/** What a daemon holds, but for sockets: connections that have asked for metrics come and go. */
const held = (daemon: Daemon): Footprint => {
  const { files, mappings } = footprint(daemon)
  return { files: files.filter((file) => !file.startsWith('socket:')), mappings }
}

/** Waits until the daemon holds as much as before: QEMU goes on before all of its messages have arrived. */
const holdsAsMuch = async (t: Test, daemon: Daemon, before: Footprint): Promise<void> => {
  let now = held(daemon)
  const isSame = (): true | undefined => {
    now = held(daemon)
    return (now.files.length === before.files.length && now.mappings.length === before.mappings.length) || undefined
  }
  await eventually(PATIENCE, 'as many descriptors and mappings as before', isSame).catch(() => {})
  t.equal(now.files.length, before.files.length, 'no descriptor comes or goes', { before, now })
  t.equal(now.mappings.length, before.mappings.length, 'no mapping comes or goes', { before, now })
}

// The properties of QEMU's device for split and packed rings
for (const packed of ['off', 'on']) {
  t.test(`a guest with packed=${packed} stops and goes on under verified I/O`, guestTest(PROGRAMS), async (t) => {
    const daemon = await startDaemon(t, [
      ...['--log-level=debug', '--log-format=json'],
      ...['--iothread=id=io0', '--iothread=id=io1'],
      `--lun=id=file0,target=0,lun=0,path=${sparseImage(tempDir(t), 'disk.img', 2 * MEBIBYTES)}`,
      `--lun=id=mem0,target=0,lun=1,driver=memory,size=${2 * MEBIBYTES}M`,
      `--lun=id=slow0,target=1,lun=0,driver=null,size=1G,delay-us=${DELAY}`,
    ])
    const before = footprint(daemon)
    const log = followLog(daemon)
    let seen = 0
    /** What the log has told of rings, since the last call. */
    const rings = (): string[] => {
      const fresh = log.slice(seen)
      seen = log.length
      return fresh.flatMap(({ code, ring }) => (/^VUS_RING_ST/.test(code ?? '') ? [`${code} ${ring}`] : []))
    }
    const each = (what: string): string[] => Array.from({ length: RINGS }, (_, ring) => `${what} ${ring}`)
    const guest = await startGuest(t, {
      devices: vhostUserScsi(daemon.socketPath, QUEUES.length, `packed=${packed}`),
      programs: PROGRAMS,
      memory: '768M',
      cpus: QUEUES.length,
      report: () => daemon.child.report(),
    })
    t.same(rings().sort(), each('VUS_RING_STARTED'))
    const idle = inFlight(await daemon.metrics())

    const verifying = await FioLoad.start(
      guest,
      verifiedWrites([await guest.disk(0, 0), await guest.disk(0, 1)], MEBIBYTES),
    )
    const slow = await guest.disk(1, 0)
    // What has no content can't be verified, but each of its requests ends, and ends well
    const waiting = await FioLoad.start(guest, {
      options: `--iodepth=8 --rw=randread --bs=4k --number_ios=${SLOW_READS}`,
      jobs: QUEUES.map((cpu) => `--name=slow-cpu${cpu} --filename=/dev/${slow} --size=1g --cpus_allowed=${cpu}`),
    })
    await progress(daemon, QUEUES, 50)
    const running = held(daemon)
    for (let count = 0; count < STOPS; count++) {
      await eventually(PATIENCE, 'requests in flight', async () => inFlight(await daemon.metrics()) > idle || undefined)
      await guest.qmp.execute('stop')
      t.same(rings().sort(), each('VUS_RING_STOPPED'), 'each ring stops when the guest does')
      t.equal(inFlight(await daemon.metrics()), idle, 'nothing is in flight then')
      await guest.qmp.execute('cont')
      await progress(daemon, QUEUES, 20)
      t.same(rings().sort(), each('VUS_RING_STARTED'), 'each ring runs when the guest goes on')
      await holdsAsMuch(t, daemon, running)
    }

    await verified(t, verifying, MEBIBYTES)
    for (const { jobname, error, read } of await waiting.stop()) {
      t.same({ error, ios: read.total_ios }, { error: 0, ios: SLOW_READS }, `each request of ${jobname} has ended`)
    }
    await noErrorInGuest(t, guest)
    await noErrorInDaemon(t, daemon)
    await guest.powerOff()
    const left = await settledFootprint(daemon, before)
    t.ok(left.files.length <= before.files.length, 'no descriptor left over', { before, left })
    t.ok(left.mappings.length <= before.mappings.length, 'no mapping left over', { before, left })
    t.same(await daemon.stop(), { code: 0, signal: null })
    const complaints = log.filter(({ level }) => level >= WARN)
    t.same(complaints, [], 'the daemon has nothing to complain about')
  })
}
