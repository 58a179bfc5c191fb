import { truncateSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { EVENT_RESET_REASON, EVENT_TYPE } from 'vhost-user-protocol-ts'
import type { LunInfo } from '../../daemon/control/target.js'
import { runCtl } from '../../daemon/ctl/run-ctl.js'
import { startConfigured } from '../support/configured-daemon.js'
import { sparseImage } from '../support/image.js'
import { tempDir } from '../support/temp-dir.js'
import { Initiator } from '../support/vhost/initiator.js'

t.setTimeout(120_000)

const PATIENCE = 30_000
const MIB = 2 ** 20
const { TRANSPORT_RESET, PARAM_CHANGE } = EVENT_TYPE

/** A daemon with two controllers; only the first has LUNs. `ctl` runs a command and answers what it prints. */
async function daemonWithLuns(t: Test) {
  const directory = tempDir(t)
  const path = sparseImage(directory, 'disk.img', 1)
  const socket = join(directory, 'control.sock')
  const daemons = await startConfigured(t, {
    control: { socket },
    luns: [
      { id: 'disk', path },
      { id: 'shared', driver: 'memory', size: '1M', 'share-rw': true },
    ],
    controllers: [
      { id: 'a', 'num-queues': 2, luns: [{ id: 'disk' }, { id: 'shared', target: 3, lun: 300 }] },
      { id: 'b', 'num-queues': 2, luns: [] },
    ],
  })
  const ctl = (...args: string[]) => runCtl([`--control-socket=${socket}`, ...args], {})
  const connect = async (i: number): Promise<Initiator> => {
    const initiator = await Initiator.connect(daemons[i]!.socketPath, { queues: 2, deadline: PATIENCE })
    t.teardown(() => initiator.close())
    initiator.postEvents(4)
    return initiator
  }
  const done = (stdout: string) => ({ status: 0, stdout, stderr: '' }) as const
  const refused = (stderr: RegExp) => ({ status: 1, stdout: '', stderr })
  return { daemon: daemons[0]!, path, ctl, connect, done, refused }
}

t.test('LUNs come and go by ctl', async (t) => {
  const { daemon, ctl, connect, done, refused } = await daemonWithLuns(t)
  const guest = await connect(1)
  t.strictSame(await ctl('lun-attach', 'b', 'shared'), done('shared: attached to b at target 0 lun 0\n'))
  t.match(await guest.event(), { event: TRANSPORT_RESET, reason: EVENT_RESET_REASON.RESCAN })
  await guest.ready(0, 0)
  const dataOut = new Uint8Array(512).fill(7)
  t.match(await guest.scsi({ cdb: [0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0], dataOut }), { response: 0, status: 0 })
  t.match(await ctl('lun-attach', 'b', 'disk'), refused(/LUN "disk": both controller "a" and .* \(EBUSY\)\n$/))
  t.strictSame(
    await ctl('lun-attach', 'b', 'disk', '--read-only=on'),
    done('disk: attached to b at target 0 lun 1, read-only\n'),
    'the lowest number that is free',
  )
  t.match(await ctl('lun-attach', 'b', 'disk', '--lun=9'), refused(/controller "b" has LUN "disk" already \(EEXIST\)/))
  t.match(await ctl('lun-attach', 'b', 'other'), refused(/lun "other" does not exist \(ENOENT\)/))
  t.match(await ctl('lun-attach', 'c', 'disk'), refused(/controller "c" does not exist \(ENOENT\)/))
  const luns = JSON.parse((await ctl('luns', '--json')).stdout) as LunInfo[]
  t.strictSame(
    luns.map(({ controllers }) => controllers),
    [
      [
        { controller: 'a', target: 0, lun: 0, 'read-only': false },
        { controller: 'b', target: 0, lun: 1, 'read-only': true },
      ],
      [
        { controller: 'a', target: 3, lun: 300, 'read-only': false },
        { controller: 'b', target: 0, lun: 0, 'read-only': false },
      ],
    ],
  )
  t.strictSame(await ctl('lun-detach', 'b', 'shared'), done('shared: detached from b\n'))
  t.match(await ctl('lun-detach', 'b', 'shared'), refused(/controller "b" has no LUN "shared" \(ENOENT\)/))
  const metrics = await daemon.metrics()
  const writes = (labels: Record<string, string>) => metrics.sum('vhost_user_scsi_requests_total', labels)
  t.equal(writes({ controller: 'b', lun: 'shared', op: 'write' }), 1, 'the metrics know it still')
  t.equal(writes({ controller: 'a', lun: 'shared', op: 'write' }), 0)
})

t.test('an image grows by ctl', async (t) => {
  const { path, ctl, connect, done, refused } = await daemonWithLuns(t)
  const guest = await connect(0)
  await guest.ready(0, 0)
  t.strictSame(await ctl('lun-refresh', 'disk'), done('disk: 1 MiB, as before\n'))
  truncateSync(path, 3 * MIB)
  t.strictSame(await ctl('lun-refresh', 'disk'), done('disk: 3 MiB, grown\n'))
  t.match(await guest.event(), { event: PARAM_CHANGE, reason: 0x092a })
  t.match((await ctl('luns')).stdout, /disk +file +3 MiB/)
  truncateSync(path, MIB)
  t.match(await ctl('lun-refresh', 'disk'), refused(/has shrunk to 1048576 bytes, but 3145728 are served.*\(EINVAL\)/))
  t.match(await ctl('lun-refresh', 'shared'), refused(/the size of a memory disk is fixed \(ENOTSUP\)/))
})
