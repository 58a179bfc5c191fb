// A guest migrates back and forth between two QEMUs, each with a daemon of its own, while fio verifies what it writes to the
// one image that both daemons serve.
import t from 'tap'
import { type Daemon, startDaemon } from '../support/daemon.js'
import { eventually } from '../support/deadline.js'
import { FioLoad, verifiedWrites } from '../support/guest/fio-load.js'
import { type GuestOptions, startGuest } from '../support/guest/guest.js'
import { vhostUserScsi } from '../support/guest/qemu.js'
import { guestTest } from '../support/guest/requirements.js'
import { sparseImage } from '../support/image.js'
import { times } from '../support/long.js'
import { tempDir } from '../support/temp-dir.js'

const PROGRAMS = ['fio', 'dd']
/** With VUS_LONG ten of them. */
const MIGRATIONS = Math.min(10, times(2))
const IOTHREADS = ['--iothread=id=io0', '--iothread=id=io1']
const PATIENCE = 60_000
const MEBIBYTES = 6
const ENOUGH = 50
const MARK = 'written before the first migration'

t.setTimeout(240_000 + 240_000 * MIGRATIONS)

const requests = async (daemon: Daemon): Promise<number> =>
  (await daemon.metrics()).sum('vhost_user_scsi_requests_total', {})

t.test('back and forth under verified I/O', guestTest(PROGRAMS), async (t) => {
  const image = sparseImage(tempDir(t), 'disk.img', 32)
  const daemons: Daemon[] = []
  for (let i = 0; i < 2; i++) {
    const daemon = await startDaemon(t, [...IOTHREADS, `--lun=id=file0,target=0,lun=0,path=${image}`])
    daemons.push(daemon)
  }
  const options = (daemon: Daemon): GuestOptions => ({
    devices: vhostUserScsi(daemon.socketPath, 2),
    programs: PROGRAMS,
    report: () => daemon.child.report(),
  })
  let daemon = daemons[0]!
  const guest = await startGuest(t, options(daemon))
  const disk = await guest.disk(0, 0)
  const readMark = `dd if=/dev/${disk} bs=4096 skip=8000 count=1 iflag=direct status=none | head -c ${MARK.length}`
  await guest.check(
    `printf '%-4096s' '${MARK}' | dd of=/dev/${disk} bs=4096 seek=8000 oflag=direct iflag=fullblock status=none`,
  )
  const { bootId } = guest
  const load = await FioLoad.start(guest, verifiedWrites([disk], MEBIBYTES, 8))

  for (let i = 0; i < MIGRATIONS; i++) {
    const from = await requests(daemon)
    await eventually(PATIENCE, 'some requests', async () => (await requests(daemon)) > from + ENOUGH || undefined)
    const next = daemons[(i + 1) % 2]!
    const before = await requests(next)
    const told = (await guest.migrate(t, options(next))) as { status: string; ram: { 'dirty-sync-count': number } }
    t.equal(told.status, 'completed', `migration ${i + 1}`)
    const left = await requests(daemon)
    await eventually(PATIENCE, 'some requests', async () => (await requests(next)) > before + ENOUGH || undefined)
    t.equal(await requests(daemon), left, 'the daemon that it has left has nothing to do any more')
    t.equal(await guest.check(readMark), MARK, 'it is the same disk')
    for (const each of daemons) t.equal((await each.metrics()).sum('vhost_user_scsi_faults_total', {}), 0, 'no fault')
    daemon = next
  }

  const jobs = await load.stop()
  t.ok(jobs.length >= 2, `${jobs.length} jobs of fio`)
  for (const { jobname, error, read, write } of jobs) {
    const bytes = MEBIBYTES * 2 ** 20
    const isSound = error === 0 && write.io_bytes === bytes && read.io_bytes === bytes
    t.ok(isSound, `${jobname} has verified all that it has written`, { error, read, write })
  }
  t.equal((await guest.check('cat /proc/sys/kernel/random/boot_id')).trim(), bootId, 'it has not booted anew')
  const log = await guest.check('dmesg')
  t.notMatch(log, /I\/O error|offline|reset failed|blocked for more than|Sense Key/i, 'no error in the log')
  await guest.powerOff()
  for (const each of daemons) t.same(await each.stop(), { code: 0, signal: null })
})
