import t, { type Test } from 'tap'
import { startConfigured } from '../support/configured-daemon.js'
import { type Guest, startGuest } from '../support/guest/guest.js'
import { guestTest } from '../support/guest/requirements.js'
import { sparseImage } from '../support/image.js'
import { tempDir } from '../support/temp-dir.js'

t.setTimeout(480_000)

const SG3 = ['get_lba_status', 'xcopy', 'sanitize', 'format', 'logs', 'persist', 'raw', 'turs', 'vpd', 'write_same']
const PROGRAMS = [...SG3.map((name) => `sg_${name}`), 'dd', 'cmp']

/** Some of sg3_utils' exit statuses, sg3_utils(8). */
const SG_STATUS = { OK: 0, CONFLICT: 24 } as const

/** Runs a command of sg3_utils; its output. Commands can exit with 0 when the transport has failed, and only say so. */
const sg = async (t: Test, guest: Guest, command: string, status: number = SG_STATUS.OK): Promise<string> => {
  const result = await guest.run(command)
  const output = result.stdout + result.stderr
  t.equal(result.status, status, command, { output })
  t.notMatch(output, /host_status/i, 'the transport is sound')
  return output
}

const READ = 'sg_raw -r 512 NODE 28 00 00 00 00 00 00 00 01 00'
const WRITE = 'sg_raw -s 512 -i /dev/zero NODE 2a 00 00 00 00 00 00 00 01 00'

/**
 * Persistent reservations by their type (SPC-4 6.15.3): whether somebody else may read, and whether a registrant that does not hold
 * them may write.
 */
const TYPES = [
  { type: 1, name: 'Write Exclusive', reads: true, registrantWrites: false },
  { type: 3, name: 'Exclusive Access', reads: false, registrantWrites: false },
  { type: 5, name: 'Write Exclusive, registrants only', reads: true, registrantWrites: true },
  { type: 6, name: 'Exclusive Access, registrants only', reads: false, registrantWrites: true },
  { type: 7, name: 'Write Exclusive, all registrants', reads: true, registrantWrites: true },
  { type: 8, name: 'Exclusive Access, all registrants', reads: false, registrantWrites: true },
] as const

t.test('copies, wipes, logs and reservations in a guest', guestTest(PROGRAMS), async (t) => {
  const luns = [
    { id: 'file', path: sparseImage(tempDir(t), 'disk.img', 16), 'share-rw': true },
    { id: 'memory', driver: 'memory', size: '16M', 'share-rw': true },
  ]
  const daemons = await startConfigured(t, {
    luns,
    controllers: [0, 1].map((way) => ({
      id: `way${way}`,
      'num-queues': 2,
      luns: luns.map(({ id }, lun) => ({ id, target: 0, lun })),
    })),
  })
  const guest = await startGuest(t, {
    devices: daemons.flatMap(({ socketPath }, way) => [
      ...['-chardev', `socket,id=vhost${way},path=${socketPath}`],
      ...['-device', `vhost-user-scsi-pci,id=scsi${way},chardev=vhost${way},num_queues=2`],
    ]),
    programs: PROGRAMS,
    report: () => daemons[0]!.child.report(),
  })
  const name = async (host: number, lun: number, kind: string): Promise<string> =>
    (await guest.check(`ls /sys/class/scsi_device/${host}:0:0:${lun}/device/${kind}`)).trim()
  const file = `/dev/${await name(0, 0, 'block')}`
  const memory = `/dev/${await name(0, 1, 'block')}`

  await t.test('VPD pages, log pages, provisioning', async (t) => {
    t.match(await sg(t, guest, `sg_vpd -a ${file}`), /Supported VPD pages.*Block limits.*Logical block provisioning/s)
    t.match(await sg(t, guest, `sg_logs -a ${file}`), /Supported log pages/)
    await guest.check(
      `tr '\\000' 'a' < /dev/zero | dd of=${file} bs=64k count=1 iflag=fullblock conv=fsync status=none`,
    )
    const status = await sg(t, guest, `sg_get_lba_status --maxlen=64 ${file}`)
    t.match(status, /LBA: 0x0+ +blocks: +128 +mapped.*LBA: 0x0*80 +blocks: +32640 +deallocated/s)
  })

  await t.test('a copy', async (t) => {
    await guest.check(`dd if=/dev/urandom of=${file} bs=64k count=16 conv=fsync status=none`)
    // Of block devices it looks for a link that udev makes.
    const generic = async (lun: number): Promise<string> => `/dev/${await name(0, lun, 'scsi_generic')}`
    await sg(t, guest, `sg_xcopy if=${await generic(0)} of=${await generic(1)} bs=512 count=2048`)
    await guest.check(`blockdev --flushbufs ${memory}; cmp -n 1048576 ${file} ${memory}`)
  })

  await t.test('SANITIZE and FORMAT UNIT', async (t) => {
    const isZero = `dd if=${memory} bs=1M iflag=direct status=none | cmp -n 16777216 - /dev/zero`
    t.equal((await guest.run(isZero)).status, 1, 'there is something on the disk')
    await sg(t, guest, `sg_sanitize --block --quick --wait ${memory}`)
    await guest.check(isZero)
    await guest.check(`dd if=/dev/urandom of=${memory} bs=64k count=16 conv=fsync status=none`)
    await sg(t, guest, `sg_sanitize --overwrite --zero --quick --wait ${memory}`)
    await guest.check(isZero)
    await guest.check(`dd if=/dev/urandom of=${memory} bs=64k count=16 conv=fsync status=none`)
    await sg(t, guest, `sg_format --format --quick --wait ${memory}`)
    await guest.check(isZero)
  })

  await t.test('reservations of all types, by two ways', async (t) => {
    const [a, b] = [`/dev/${await name(0, 0, 'scsi_generic')}`, `/dev/${await name(1, 0, 'scsi_generic')}`]
    const out = (node: string, what: string): Promise<string> =>
      sg(t, guest, `sg_persist --no-inquiry --out ${what} ${node}`)
    const does = (command: string, node: string, allowed: boolean): Promise<string> =>
      sg(t, guest, command.replace('NODE', node), allowed ? SG_STATUS.OK : SG_STATUS.CONFLICT)
    // What happened to the reservations before is a unit attention.
    const settle = (): Promise<unknown> => guest.run(`for i in 1 2 3 4; do sg_turs ${a}; sg_turs ${b}; done`)
    for (const { type, name, reads, registrantWrites } of TYPES) {
      await settle()
      await out(a, '--register --param-sark=a1')
      await out(a, `--reserve --param-rk=a1 --prout-type=${type}`)
      await does(WRITE, a, true)
      await does(READ, b, reads)
      await does(WRITE, b, false)
      await out(b, '--register --param-sark=b1')
      await does(WRITE, b, registrantWrites)
      const held = await sg(t, guest, `sg_persist --no-inquiry --in --read-reservation ${b}`)
      t.match(held, new RegExp(name, 'i'))
      t.match(await sg(t, guest, `sg_persist --no-inquiry --in --read-full-status ${b}`), /0xb1/)
      await out(b, `--preempt --param-rk=b1 --param-sark=a1 --prout-type=${type}`)
      await settle()
      await does(WRITE, b, true)
      await does(WRITE, a, false)
      await out(b, `--release --param-rk=b1 --prout-type=${type}`)
      await does(WRITE, a, true)
      await out(b, '--clear --param-rk=b1')
      t.match(await sg(t, guest, `sg_persist --no-inquiry --in --read-keys ${a}`), /no registered reservation keys/i)
    }
  })

  t.notMatch(await guest.check('dmesg'), /offline|I\/O error|reset failed|Call Trace/i)
  await guest.powerOff()
  t.same(await daemons[0]!.stop(), { code: 0, signal: null })
})
