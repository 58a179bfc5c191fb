import type { Test } from 'tap'
import type { Daemon } from '../daemon.js'
import type { FioLoad } from './fio-load.js'
import type { Guest } from './guest.js'

/** Ends a load of verifiedWrites and looks at what fio found: no error, and all that each job has written was read back. */
export const verified = async (t: Test, load: FioLoad, mebibytes: number): Promise<void> => {
  const jobs = await load.stop()
  t.ok(jobs.length > 0, `${jobs.length} jobs of fio`)
  const written = mebibytes * 2 ** 20
  for (const { jobname, error, read, write } of jobs) {
    const isSound = error === 0 && write.io_bytes === written && read.io_bytes === written
    t.ok(isSound, `${jobname} has verified all that it has written`, { error, read, write })
  }
}

/** Nothing has gone wrong with I/O, as the guest sees it since it has booted. */
export const noErrorInGuest = async (t: Test, guest: Guest): Promise<void> => {
  const errors =
    /I\/O error|offline device|Device offlined|reset failed|blocked for more|Sense Key|timing out|BUG: |Oops: /
  t.notMatch(await guest.check('dmesg'), errors, 'no error in the log of the guest')
}

/** Nothing has gone wrong with I/O, as the daemon sees it. */
export const noErrorInDaemon = async (t: Test, daemon: Daemon): Promise<void> => {
  const metrics = await daemon.metrics()
  t.equal(metrics.sum('vhost_user_scsi_errors_total', { op: 'read' }), 0, 'no read has failed')
  t.equal(metrics.sum('vhost_user_scsi_errors_total', { op: 'write' }), 0, 'no write has failed')
  t.equal(metrics.sum('vhost_user_scsi_faults_total'), 0, 'no fault of a ring, a request or a message')
}
