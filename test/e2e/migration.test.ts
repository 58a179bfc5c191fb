// A guest migrates back and forth between two QEMUs, each with a daemon of its own, while it verifies what it writes to the
// one image that both daemons serve, and what it reads.
import { createHash, randomBytes } from 'node:crypto'
import { closeSync, openSync, writeSync } from 'node:fs'
import t, { type Test } from 'tap'
import { type Daemon, startDaemon } from '../support/daemon.js'
import { Background } from '../support/guest/background.js'
import { FioLoad, verifiedWrites } from '../support/guest/fio-load.js'
import { type Guest, type GuestOptions, startGuest } from '../support/guest/guest.js'
import { noErrorInDaemon, noErrorInGuest, verified } from '../support/guest/load-check.js'
import { progress, requestsOf } from '../support/guest/progress.js'
import { vhostUserScsi } from '../support/guest/qemu.js'
import { guestTest } from '../support/guest/requirements.js'
import { sparseImage } from '../support/image.js'
import { times } from '../support/long.js'
import { tempDir } from '../support/temp-dir.js'

const PROGRAMS = ['fio', 'dd', 'sha256sum']
/** With VUS_LONG ten of them. */
const MIGRATIONS = Math.min(10, times(2))
const IOTHREADS = ['--iothread=id=io0', '--iothread=id=io1']
const QUEUES = [0, 1]
const PATIENCE = 60_000
const MIB = 2 ** 20
/** The image, MiB: what fio's two jobs write, then what each reader reads. */
const WRITTEN = 6
const READ = 8
const READERS = 4
const SIZE = 2 * WRITTEN + READERS * READ
/** Requests on each queue. */
const ENOUGH = 25

t.setTimeout(2 * (240_000 + 240_000 * MIGRATIONS))

/** Requests that a daemon has ended, so far. */
const requests = async (daemon: Daemon): Promise<number> => {
  const metrics = await daemon.metrics()
  return QUEUES.reduce((sum, queue) => sum + requestsOf(metrics, queue), 0)
}

/** Fills a reader's part of the image; the digest of it. */
const fill = (image: string, reader: number): string => {
  const bytes = randomBytes(READ * MIB)
  const fd = openSync(image, 'r+')
  writeSync(fd, bytes, 0, bytes.length, (2 * WRITTEN + reader * READ) * MIB)
  closeSync(fd)
  return createHash('sha256').update(bytes).digest('hex')
}

/**
 * Reads a part of the disk again and again, into memory that nobody else writes to: a page of that which a migration
 * leaves behind holds something else, or nothing.
 */
const startReader = (guest: Guest, disk: string, reader: number, digest: string): Promise<Background> =>
  Background.start(
    guest,
    `rounds=0
     while [ ! -e /tmp/read-enough ]; do
       found=$(dd if=/dev/${disk} bs=1M skip=${2 * WRITTEN + reader * READ} count=${READ} iflag=direct status=none | sha256sum)
       [ "$found" = "${digest}  -" ] || { echo "round $rounds: $found"; exit 1; }
       rounds=$((rounds + 1))
     done
     echo "$rounds"`,
  )

const migrate = async (t: Test, properties: string): Promise<void> => {
  const image = sparseImage(tempDir(t), 'disk.img', SIZE)
  const digests = Array.from({ length: READERS }, (_, reader) => fill(image, reader))
  const daemons: Daemon[] = []
  for (let i = 0; i < 2; i++) {
    daemons.push(await startDaemon(t, [...IOTHREADS, `--lun=id=file0,target=0,lun=0,path=${image}`]))
  }
  const options = (daemon: Daemon): GuestOptions => ({
    devices: vhostUserScsi(daemon.socketPath, QUEUES.length, properties),
    programs: PROGRAMS,
    report: () => daemon.child.report(),
  })
  let daemon = daemons[0]!
  const guest = await startGuest(t, options(daemon))
  const { bootId } = guest
  const disk = await guest.disk(0, 0)
  const load = await FioLoad.start(guest, verifiedWrites([disk], WRITTEN, 8))
  const readers: Background[] = []
  for (let i = 0; i < READERS; i++) readers.push(await startReader(guest, disk, i, digests[i]!))

  for (let i = 0; i < MIGRATIONS; i++) {
    const next = daemons[(i + 1) % 2]!
    await progress(daemon, QUEUES, ENOUGH)
    t.match(await guest.migrate(t, options(next)), { status: 'completed' }, `migration ${i + 1}`)
    const left = await requests(daemon)
    await progress(next, QUEUES, ENOUGH)
    t.equal(await requests(daemon), left, 'the daemon that it has left has nothing to do any more')
    daemon = next
  }

  await guest.check('touch /tmp/read-enough')
  for (const reader of readers) {
    const { status, stdout } = await reader.ended(PATIENCE)
    t.equal(status, 0, `read ${stdout.trim()} times, right each time`)
    t.ok(Number(stdout) > 0)
  }
  await verified(t, load, WRITTEN)
  t.equal((await guest.check('cat /proc/sys/kernel/random/boot_id')).trim(), bootId, 'it has not booted anew')
  await noErrorInGuest(t, guest)
  for (const each of daemons) await noErrorInDaemon(t, each)
  await guest.powerOff()
  for (const each of daemons) t.same(await each.stop(), { code: 0, signal: null })
}

for (const packed of ['off', 'on']) {
  t.test(`back and forth under verified I/O, packed=${packed}`, guestTest(PROGRAMS), (t) =>
    migrate(t, `packed=${packed}`),
  )
}
