import { truncateSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { runCtl } from '../../daemon/ctl/run-ctl.js'
import { startDaemon } from '../support/daemon.js'
import { eventually } from '../support/deadline.js'
import { type Guest, startGuest } from '../support/guest/guest.js'
import { vhostUserScsi } from '../support/guest/qemu.js'
import { guestTest } from '../support/guest/requirements.js'
import { sparseImage } from '../support/image.js'
import { tempDir } from '../support/temp-dir.js'

t.setTimeout(480_000)

const PROGRAMS = ['dd']
const PATIENCE = 60_000
const MIB = 2 ** 20

/** The name of the disk at a LUN; undefined: there is none. */
async function diskAt(guest: Guest, target: number, lun: number): Promise<string | undefined> {
  const { stdout } = await guest.run(`ls /sys/class/scsi_device/*:0:${target}:${lun}/device/block 2> /dev/null`)
  return stdout.trim() || undefined
}

/** Bytes of a disk, as the kernel knows it. */
const sizeOf = async (guest: Guest, disk: string): Promise<number> =>
  Number(await guest.check(`blockdev --getsize64 /dev/${disk}`))

t.test('a guest sees a disk grow, and others appear and vanish', guestTest(PROGRAMS), async (t) => {
  const directory = tempDir(t)
  const image = sparseImage(directory, 'disk.img', 64)
  const socket = join(directory, 'control.sock')
  const daemon = await startDaemon(t, [
    `--lun=id=disk,target=0,lun=0,path=${image}`,
    '--lun=id=data,target=0,lun=1,driver=memory,size=16M',
    '--lun=id=far,target=5,lun=300,driver=memory,size=32M',
    `--control-socket=${socket}`,
  ])
  const ctl = async (...args: string[]): Promise<void> => {
    const { status, stderr } = await runCtl([`--control-socket=${socket}`, ...args], {})
    if (status !== 0) throw new Error(stderr)
  }
  const controller = 'controller0'
  const guest = await startGuest(t, {
    devices: vhostUserScsi(daemon.socketPath, 2),
    programs: PROGRAMS,
    report: () => daemon.child.report(),
  })
  const disk = await guest.disk(0, 0)
  t.equal(await sizeOf(guest, disk), 64 * MIB)
  // Something reads the disk all the while.
  await guest.check(
    `(while dd if=/dev/${disk} of=/dev/null bs=64k iflag=direct 2> /dev/null; do :; done; echo > /tmp/broke) &`,
  )

  truncateSync(image, 96 * MIB)
  await ctl('lun-refresh', 'disk')
  const size = await eventually(PATIENCE, 'the new size', async () =>
    (await sizeOf(guest, disk)) === 96 * MIB ? 96 * MIB : undefined,
  )
  t.equal(size, 96 * MIB, 'the driver has looked at the disk by itself')
  t.match(await guest.check('dmesg'), /detected capacity change from 131072 to 196608/)
  await guest.check(`echo -n grown | dd of=/dev/${disk} bs=512 seek=196607 conv=fsync,notrunc`)
  t.match(await guest.check(`dd if=/dev/${disk} bs=512 skip=196607 count=1 iflag=direct status=none`), /^grown/)

  for (const [lun, target, number] of [
    ['data', 0, 1],
    // As Linux shows a LUN of flat space addressing.
    ['far', 5, 0x4000 | 300],
  ] as const) {
    t.ok(await diskAt(guest, target, number), `${lun} is there`)
    await ctl('lun-detach', controller, lun)
    await eventually(PATIENCE, `${lun} gone`, async () => ((await diskAt(guest, target, number)) ? undefined : true))
    t.pass(`${lun} vanishes`)
  }
  await ctl('lun-attach', controller, 'data', '--lun=7')
  const data = await eventually(PATIENCE, 'data', () => diskAt(guest, 0, 7))
  t.equal(await sizeOf(guest, data), 16 * MIB)
  await guest.check(`echo -n here | dd of=/dev/${data} bs=512 conv=fsync,notrunc`)
  await ctl('lun-attach', controller, 'far', '--target=9', '--lun=400', '--read-only=on')
  const far = await eventually(PATIENCE, 'far', () => diskAt(guest, 9, 0x4000 | 400))
  t.equal(await sizeOf(guest, far), 32 * MIB)
  t.equal((await guest.check(`blockdev --getro /dev/${far}`)).trim(), '1')
  t.match(await guest.check(`dd if=/dev/${data} bs=512 count=1 iflag=direct status=none`), /^here/)

  await guest.check('[ ! -e /tmp/broke ]')
  const metrics = await daemon.metrics()
  t.equal(metrics.sum('vhost_user_scsi_errors_total', { lun: 'disk', op: 'read' }), 0)
  await guest.powerOff()
})
