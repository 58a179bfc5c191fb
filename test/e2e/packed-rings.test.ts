import t from 'tap'
import { startDaemon } from '../support/daemon.js'
import { startGuest } from '../support/guest/guest.js'
import { vhostUserScsi } from '../support/guest/qemu.js'
import { guestTest } from '../support/guest/requirements.js'
import { sparseImage } from '../support/image.js'
import { tempDir } from '../support/temp-dir.js'

t.setTimeout(480_000)

const PROGRAMS = ['fio']
const RING_PACKED = 34
const MEBIBYTES = 16

const VERIFIED = [
  '--direct=1 --ioengine=libaio --iodepth=16 --rw=randwrite --bssplit=4k/60:16k/20:64k/20',
  `--verify=crc32c --verify_fatal=1 --size=${MEBIBYTES}m`,
].join(' ')

t.test('a Linux guest with packed rings', guestTest(PROGRAMS), async (t) => {
  const image = sparseImage(tempDir(t), 'disk.img', 64)
  const luns = [`--lun=id=file0,target=0,lun=0,path=${image}`, '--lun=id=mem0,target=1,lun=0,driver=memory,size=64M']
  const daemon = await startDaemon(t, ['--iothread=id=io0', '--iothread=id=io1', ...luns])
  const guest = await startGuest(t, {
    devices: vhostUserScsi(daemon.socketPath, 2, 'packed=on'),
    programs: PROGRAMS,
    memory: '512M',
    cpus: 2,
    report: () => daemon.child.report(),
  })
  const isPacked = async (): Promise<boolean> => {
    const features = await guest.check('cat /sys/bus/virtio/drivers/virtio_scsi/virtio*/features')
    return features[RING_PACKED] === '1'
  }
  const verify = async (): Promise<void> => {
    const disks = [await guest.disk(0, 0), await guest.disk(1, 0)]
    const jobs = disks.map((disk, cpu) => `--name=${disk} --filename=/dev/${disk} --cpus_allowed=${cpu}`)
    await guest.check(`fio ${VERIFIED} ${jobs.join(' ')}`, { timeout: 240_000 })
  }

  t.equal(await isPacked(), true, 'its driver has taken RING_PACKED')
  await verify()
  t.pass('what fio has written it has read')

  // A stop in the middle is GET_VRING_BASE and a start at what was answered.
  const running = verify()
  for (let i = 0; i < 5; i++) {
    await guest.qmp.execute('stop')
    await guest.qmp.execute('cont')
  }
  await running
  t.pass('also when it is stopped and goes on meanwhile')

  await guest.reboot()
  t.equal(await isPacked(), true)
  await verify()
  t.pass('and after a restart')
  await guest.powerOff()
  const metrics = await daemon.metrics()
  for (const queue of ['0', '1']) {
    const requests = metrics.sum('vhost_user_scsi_requests_total', { queue })
    t.ok(requests > 1000, `${requests} requests on queue ${queue}`)
  }
  t.same(await daemon.stop(), { code: 0, signal: null })
})
