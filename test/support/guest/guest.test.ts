import t from 'tap'
import type { ReportedError } from '../deadline.js'
import { Background } from './background.js'
import { startGuest } from './guest.js'
import { guestTest } from './requirements.js'

t.setTimeout(240_000)

t.test('a guest on a disk of QEMU itself', guestTest(['lsblk']), async (t) => {
  const guest = await startGuest(t, {
    devices: [
      ...['-blockdev', 'null-co,node-name=null0,size=67108864,read-zeroes=on', '-device', 'virtio-scsi-pci,id=scsi0'],
      ...['-device', 'scsi-hd,drive=null0,scsi-id=3,lun=1,serial=abc'],
    ],
    programs: ['lsblk'],
  })
  const first = guest.bootId
  t.match(first, /^[0-9a-f-]{36}$/)
  t.match(await guest.run('echo out; echo err >&2; exit 3'), { status: 3, stdout: 'out\n', stderr: 'err\n' })
  t.equal(await guest.disk(3, 1), 'sda')
  t.equal((await guest.check('lsblk -bdno SIZE /dev/sda')).trim(), `${64 * 1024 * 1024}`)
  t.equal((await guest.check('seq 1 100000')).length, 588895)
  const refused = await guest.check('echo why >&2; false; true').catch((error: ReportedError) => error)
  t.match(refused, { message: /^status 1/, report: /^why\n/ })
  await guest.check('mkfifo /tmp/fifo')
  const background = await Background.start(guest, 'cat /tmp/fifo; echo err >&2; exit 3')
  await guest.check('echo "in front" > /tmp/fifo')
  t.same(await background.ended(60_000), { status: 3, stdout: 'in front\n', stderr: 'err\n' })
  await t.rejects(guest.run('sleep 1000 & wait', { timeout: 100 }), /not within 100 ms/)
  await guest.qmp.execute('system_reset')
})
