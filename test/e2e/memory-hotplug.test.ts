import t, { type Test } from 'tap'
import { type Daemon, startDaemon } from '../support/daemon.js'
import { followLog, WARN } from '../support/daemon-log.js'
import { eventually } from '../support/deadline.js'
import { footprint, settledFootprint } from '../support/footprint.js'
import { Dimm } from '../support/guest/dimm.js'
import { FioLoad, verifiedWrites } from '../support/guest/fio-load.js'
import { type Guest, startGuest } from '../support/guest/guest.js'
import { noErrorInDaemon, noErrorInGuest, verified } from '../support/guest/load-check.js'
import { progress } from '../support/guest/progress.js'
import { vhostUserScsi } from '../support/guest/qemu.js'
import { guestTest } from '../support/guest/requirements.js'
import { HUGE_PAGE, hugePages } from '../support/huge-pages.js'
import { sparseImage } from '../support/image.js'
import { times } from '../support/long.js'
import { hugeBytes, touchedBytes } from '../support/proc.js'
import { tempDir } from '../support/temp-dir.js'

const PROGRAMS = ['fio']
const QUEUES = [0, 1]
const MIB = 2 ** 20
const RAM = 768
const FIRST = 128
const SECOND = 256
const MEBIBYTES = 6
const ROUNDS = Math.min(times(1), 20)
const PATIENCE = 60_000
/** A run of fio has buffers of more than 8 MiB. */
const USED = 1 * MIB

t.setTimeout(600_000 + 240_000 * ROUNDS)

const lengthOf = (mapping: string): number => {
  const [start = Number.NaN, end = Number.NaN] = mapping.split(/[- ]/, 2).map((word) => Number.parseInt(word, 16))
  return end - start
}

/** The region of a DIMM in the daemon: the line of its /proc/PID/maps. */
const regionOf = (t: Test, daemon: Daemon, { id, size }: Dimm): string => {
  const regions = daemon.sharedMappings().filter((line) => lengthOf(line) === size)
  t.equal(regions.length, 1, `the daemon has mapped all of ${id}`, { mappings: daemon.sharedMappings() })
  return regions[0] ?? ''
}

/** Waits until the daemon has read or written the memory of a DIMM: nobody else shows up in how much it has touched. */
const used = async (t: Test, daemon: Daemon, dimm: Dimm, region: string): Promise<void> => {
  const bytes = await eventually(PATIENCE, `I/O in ${dimm.id}`, () => {
    const touched = touchedBytes(daemon.pid, region) ?? 0
    return touched >= USED ? touched : undefined
  })
  t.ok(bytes >= USED, `the daemon has moved data from or to ${(bytes / MIB).toFixed(1)} MiB of ${dimm.id}`)
}

/** A DIMM comes under I/O and serves for it. */
const plugged = async (t: Test, daemon: Daemon, guest: Guest, id: string, mebibytes: number): Promise<PluggedDimm> => {
  const dimm = await Dimm.plug(guest, id, mebibytes)
  const region = regionOf(t, daemon, dimm)
  t.equal(touchedBytes(daemon.pid, region), 0, 'and not yet used')
  await dimm.online()
  return { dimm, region }
}

interface PluggedDimm {
  dimm: Dimm
  region: string
}

/** A DIMM goes under I/O, and so does its region. */
const unplugged = async (t: Test, daemon: Daemon, { dimm, region }: PluggedDimm): Promise<void> => {
  await dimm.unplug()
  t.notOk(daemon.sharedMappings().includes(region), `the daemon has let go of ${dimm.id}`)
  await progress(daemon, QUEUES, 20)
}

// The properties of QEMU's device for split and packed rings
for (const packed of ['off', 'on']) {
  t.test(`DIMMs come and go under verified I/O, packed=${packed}`, guestTest(PROGRAMS), async (t) => {
    const daemon = await startDaemon(t, [
      ...['--log-level=debug', '--log-format=json'],
      ...['--iothread=id=io0', '--iothread=id=io1'],
      `--lun=id=file0,target=0,lun=0,path=${sparseImage(tempDir(t), 'disk.img', 2 * MEBIBYTES)}`,
      `--lun=id=mem0,target=0,lun=1,driver=memory,size=${2 * MEBIBYTES}M`,
    ])
    const log = followLog(daemon)
    /** The sizes of the memory tables that the log has told of, MiB, since the last call. */
    const tables = (): number[] => {
      const fresh = log.slice(seen)
      seen = log.length
      return fresh.filter(({ code }) => code === 'VUS_MEMORY').map(({ bytes }) => Number(bytes) / MIB)
    }
    let seen = 0
    const guest = await startGuest(t, {
      devices: vhostUserScsi(daemon.socketPath, QUEUES.length, `packed=${packed}`),
      programs: PROGRAMS,
      memory: `${RAM}M,slots=2,maxmem=2G`,
      cpus: QUEUES.length,
      report: () => daemon.child.report(),
    })
    const load = async (): Promise<FioLoad> =>
      FioLoad.start(guest, verifiedWrites([await guest.disk(0, 0), await guest.disk(0, 1)], MEBIBYTES))
    t.same(tables(), [RAM], 'one region')
    const start = footprint(daemon)
    const noMore = async (t: Test): Promise<void> => {
      const now = await settledFootprint(daemon, start)
      t.ok(now.files.length <= start.files.length, 'no descriptor left over', { start, now })
      t.ok(now.mappings.length <= start.mappings.length, 'no mapping left over', { start, now })
    }

    await t.test('while the guest runs', async (t) => {
      const running = await load()
      await progress(daemon, QUEUES, 20)
      for (let round = 0; round < ROUNDS; round++) {
        const first = await plugged(t, daemon, guest, 'dimm0', FIRST)
        await used(t, daemon, first.dimm, first.region)
        const second = await plugged(t, daemon, guest, 'dimm1', SECOND)
        // What is in the first one moves to the second, or to the RAM that was always there.
        await unplugged(t, daemon, first)
        await used(t, daemon, second.dimm, second.region)
        await unplugged(t, daemon, second)
        await noMore(t)
        const expected = [RAM + FIRST, RAM + FIRST + SECOND, RAM + SECOND, RAM]
        t.same(tables(), expected, 'the log has told of each change')
      }
      await verified(t, running, MEBIBYTES)
    })

    // The kind of the rings matters little to it: once in a short run
    if (packed === 'off' || ROUNDS > 1) {
      await t.test('while the guest is stopped, and over a reboot', async (t) => {
        await load()
        await progress(daemon, QUEUES, 20)
        await guest.qmp.execute('stop')
        const dimm = await Dimm.plug(guest, 'dimm0', FIRST)
        t.same(tables(), [], 'the daemon is not told before the rings start')
        await guest.qmp.execute('cont')
        await dimm.online()
        const region = regionOf(t, daemon, dimm)
        await used(t, daemon, dimm, region)
        await noErrorInGuest(t, guest)

        await guest.reboot()
        t.ok(daemon.sharedMappings().includes(region), 'the region stays over a reboot under I/O')
        const running = await load()
        await dimm.online()
        const before = touchedBytes(daemon.pid, region) ?? 0
        await eventually(PATIENCE, `I/O in other pages of ${dimm.id}`, () => {
          const touched = touchedBytes(daemon.pid, region) ?? 0
          return touched > before || undefined
        })
        await unplugged(t, daemon, { dimm, region })
        await verified(t, running, MEBIBYTES)
        await noMore(t)
        t.same(tables(), [RAM + FIRST, RAM], 'the log has told of each change')
      })
    }

    await noErrorInGuest(t, guest)
    await noErrorInDaemon(t, daemon)
    await guest.powerOff()
    t.same(await daemon.stop(), { code: 0, signal: null })
    const complaints = log.filter(({ level }) => level >= WARN)
    t.same(complaints, [], 'the daemon has nothing to complain about')
  })
}

const HUGE_RAM = 512
const missing = hugePages(t, (HUGE_RAM * MIB) / HUGE_PAGE)
// Not a skip: a machine that has no huge pages cannot be asked for them.
if (missing !== undefined) t.comment(`a guest in huge pages is left out: ${missing}`)
else {
  t.test('a guest whose memory is in huge pages', guestTest(PROGRAMS), async (t) => {
    const image = sparseImage(tempDir(t), 'disk.img', 2 * MEBIBYTES)
    const daemon = await startDaemon(t, [`--lun=path=${image}`])
    const guest = await startGuest(t, {
      devices: vhostUserScsi(daemon.socketPath, QUEUES.length),
      programs: PROGRAMS,
      memory: `${HUGE_RAM}M`,
      huge: true,
      cpus: QUEUES.length,
      report: () => daemon.child.report(),
    })
    t.equal(hugeBytes(daemon.pid), HUGE_RAM * MIB, 'the daemon has mapped huge pages')
    const load = await FioLoad.start(guest, verifiedWrites([await guest.disk(0, 0)], MEBIBYTES))
    await progress(daemon, QUEUES, 50)
    await verified(t, load, MEBIBYTES)
    await guest.reboot()
    await noErrorInGuest(t, guest)
    await noErrorInDaemon(t, daemon)
    await guest.powerOff()
    t.same(await daemon.stop(), { code: 0, signal: null })
  })
}
