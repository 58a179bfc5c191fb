import { statSync } from 'node:fs'
import t from 'tap'
import { type Daemon, startDaemon } from '../support/daemon.js'
import { footprint, settledFootprint } from '../support/footprint.js'
import { type Guest, startGuest } from '../support/guest/guest.js'
import { vhostUserScsi } from '../support/guest/qemu.js'
import { guestTest } from '../support/guest/requirements.js'
import { sparseImage } from '../support/image.js'
import type { Teardown } from '../support/teardown.js'
import { tempDir } from '../support/temp-dir.js'

t.setTimeout(600_000)

const PROGRAMS = ['fio', 'mkfs.ext4', 'e2fsck', 'blkdiscard', 'dd', 'cmp', 'sha256sum']
const MIB = 1024 * 1024
const SIZE = 128
const QUEUES = ['0', '1']

const start = (t: Teardown, daemon: Daemon): Promise<Guest> =>
  startGuest(t, {
    devices: vhostUserScsi(daemon.socketPath, 2),
    programs: PROGRAMS,
    memory: '768M',
    cpus: 2,
    report: () => daemon.child.report(),
  })

/**
 * fio on both disks from both CPUs, each job on a region of its own: random writes of mixed sizes, then every block is
 * verified.
 */
const verifiedIo = async (guest: Guest, disks: readonly string[], mebibytes: number): Promise<void> => {
  const jobs = disks.flatMap((disk) =>
    [0, 1].map(
      (cpu) =>
        `--name=${disk}-cpu${cpu} --filename=/dev/${disk} --offset=${cpu * 64}m --size=${mebibytes}m --cpus_allowed=${cpu}`,
    ),
  )
  const options = [
    '--output-format=json --direct=1 --ioengine=libaio --iodepth=16 --rw=randwrite',
    '--bssplit=4k/60:16k/20:64k/15:128k/5 --verify=crc32c --verify_fatal=1',
  ]
  const output = await guest.check(`fio ${options.join(' ')} ${jobs.join(' ')}`, { timeout: 240_000 })
  const report = JSON.parse(output) as { jobs: { jobname: string; error: number; read: Io; write: Io }[] }
  t.equal(report.jobs.length, jobs.length)
  for (const { jobname, error, read, write } of report.jobs) {
    t.equal(error, 0, `fio's ${jobname} has found no error`)
    t.equal(read.io_bytes, write.io_bytes, `fio's ${jobname} has verified what it has written`)
    t.equal(write.io_bytes, mebibytes * MIB)
  }
}

interface Io {
  io_bytes: number
}

/**
 * The IOThread and the kernel thread of each request queue; more than 1,000 requests were served on each, in two
 * threads.
 */
const threadsOfQueues = async (daemon: Daemon): Promise<{ iothread: string; tid: string }[]> => {
  const metrics = await daemon.metrics()
  const infos = QUEUES.map((queue) => {
    const found = metrics.select('vhost_user_scsi_queue_info', { queue }).filter((sample) => sample.value === 1)
    t.equal(found.length, 1, `one thread serves queue ${queue}`)
    const { iothread = '', tid = '' } = found[0]?.labels ?? {}
    t.ok(statSync(`/proc/${daemon.pid}/task/${tid}`, { throwIfNoEntry: false }), `${tid} is a thread of the daemon`)
    t.not(tid, `${daemon.pid}`, 'and not the main thread')
    const requests = metrics.sum('vhost_user_scsi_requests_total', { queue })
    t.ok(requests > 1000, `${requests} requests on queue ${queue}`)
    return { iothread, tid }
  })
  t.not(infos[0]?.tid, infos[1]?.tid, 'two threads')
  return infos
}

t.test('verified I/O from two CPUs through two IOThreads', guestTest(PROGRAMS), async (t) => {
  const image = sparseImage(tempDir(t), 'disk.img', SIZE)
  const luns = [
    `--lun=id=file0,target=0,lun=0,path=${image}`,
    `--lun=id=mem0,target=1,lun=0,driver=memory,size=${SIZE}M`,
  ]
  const iothreads = ['--iothread=id=io0', '--iothread=id=io1']

  await t.test('round robin', async (t) => {
    const daemon = await startDaemon(t, [...iothreads, ...luns])
    const before = footprint(daemon)
    const guest = await start(t, daemon)
    let disk = await guest.disk(0, 0)
    const memory = await guest.disk(1, 0)
    t.equal(await guest.check(`cat /sys/block/${disk}/mq/*/cpu_list`), '0\n1\n', 'a queue for each CPU')

    await verifiedIo(guest, [disk, memory], 24)
    const threads = await threadsOfQueues(daemon)
    t.same(
      threads.map(({ iothread }) => iothread),
      ['io0', 'io1'],
    )

    await guest.check(`mkfs.ext4 -q -F /dev/${disk} && mount -t ext4 /dev/${disk} /mnt`)
    const fill = 'for i in $(seq 1 60); do dd if=/dev/urandom of=/mnt/$i bs=1000 count=$((i * i)) status=none; done'
    await guest.check(`${fill}; cp -r /usr/sbin /mnt`)
    const sums = 'find /mnt -type f | sort | xargs sha256sum'
    const written = await guest.check(sums)
    await guest.check(`umount /mnt`)
    t.equal((await guest.run(`e2fsck -fn /dev/${disk}`)).status, 0, 'the file system is clean')

    await guest.reboot()
    disk = await guest.disk(0, 0)
    await guest.check(`mount -t ext4 -o ro /dev/${disk} /mnt`)
    t.ok(written.split('\n').length > 60)
    t.equal(await guest.check(sums), written, 'the files are the same after a reboot')
    await guest.check('umount /mnt')

    const allocated = statSync(image).blocks
    for (const name of [disk, await guest.disk(1, 0)]) {
      const zeros = `dd if=/dev/${name} bs=1M iflag=direct status=none | cmp -n ${SIZE * MIB} - /dev/zero`
      t.equal((await guest.run(zeros)).status, 1, `${name} has data`)
      await guest.check(`blkdiscard /dev/${name}`)
      t.equal((await guest.run(zeros)).status, 0, `${name} reads as zeros when discarded`)
    }
    t.ok(statSync(image).blocks < allocated / 10, 'the image has given its blocks back')

    await guest.powerOff()
    const after = await settledFootprint(daemon, before)
    t.ok(after.files.length <= before.files.length, 'no descriptor left over', { before, after })
    t.ok(after.mappings.length <= before.mappings.length, 'no mapping left over', { before, after })
    t.same(await daemon.stop(), { code: 0, signal: null })
  })

  await t.test('explicit mapping', async (t) => {
    const mapping = JSON.stringify([
      { iothread: 'io0', vqs: [1] },
      { iothread: 'io1', vqs: [0] },
    ])
    const daemon = await startDaemon(t, [...iothreads, `--iothread-vq-mapping=${mapping}`, ...luns])
    const guest = await start(t, daemon)
    await verifiedIo(guest, [await guest.disk(0, 0), await guest.disk(1, 0)], 24)
    const threads = await threadsOfQueues(daemon)
    t.same(
      threads.map(({ iothread }) => iothread),
      ['io1', 'io0'],
    )
    await guest.powerOff()
    t.same(await daemon.stop(), { code: 0, signal: null })
  })
})
