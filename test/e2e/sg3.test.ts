import t, { type Test } from 'tap'
import { startDaemon } from '../support/daemon.js'
import { type Guest, startGuest } from '../support/guest/guest.js'
import { vhostUserScsi } from '../support/guest/qemu.js'
import { guestTest } from '../support/guest/requirements.js'
import { sparseImage } from '../support/image.js'
import { tempDir } from '../support/temp-dir.js'

t.setTimeout(360_000)

const UDEV = [
  '/lib/systemd/systemd-udevd',
  '/lib/udev/scsi_id',
  '/lib/udev/rules.d/60-persistent-storage.rules',
  'udevadm',
]
const SG3 = [
  'inq',
  'vpd',
  'readcap',
  'luns',
  'opcodes',
  'modes',
  'unmap',
  'write_same',
  'verify',
  'reset',
  'raw',
  'turs',
]
const PROGRAMS = [...UDEV, ...SG3.map((name) => `sg_${name}`), 'lsblk', 'dd', 'cmp']

const MIB = 1024 * 1024
const WWN = '5000c500a1b2c3d4'

/** LUNs of several targets: a file, 4 KiB blocks, read only behind flat addressing, no LUN 0, the last target. */
const luns = (image: string): string[] => [
  `--lun=target=0,lun=0,path=${image},serial=SER-A1,wwn=0x${WWN},vendor=ACME,product=Rapid Disk,revision=1.2,rotation-rate=1`,
  '--lun=target=0,lun=1,driver=memory,size=32M,block-size=4096,rotation-rate=7200,write-cache=off,discard=ignore',
  '--lun=target=0,lun=300,driver=memory,size=16M,read-only=on,serial=SER-RO',
  '--lun=target=9,lun=4,driver=memory,size=48M,physical-block-size=4096,serial=SER-D4',
  '--lun=target=255,lun=0,driver=memory,size=16M,serial=SER-LAST',
]

/** As Linux numbers a LUN that is addressed with the flat space method (SAM-5 4.7.7.3). */
const flat = (lun: number): number => 0x4000 | lun

/** Some of sg3_utils' exit statuses, sg3_utils(8). */
const SG_STATUS = { OK: 0, DATA_PROTECT: 7, INVALID_OPCODE: 9, MISCOMPARE: 14 } as const

/** Runs a command of sg3_utils. They can exit with 0 when the transport has failed, and only say so. */
const sg = async (t: Test, guest: Guest, command: string, status: number = SG_STATUS.OK): Promise<string> => {
  const result = await guest.run(command)
  const output = result.stdout + result.stderr
  t.equal(result.status, status, command, { output })
  t.notMatch(output, /host_status/i, 'the transport is sound')
  return output
}

/** Bytes as tr(1) writes them. */
const BYTE = { ZERO: '\\000', ONES: '\\377', PATTERN: '\\132' } as const

/** Writes 0xff bytes, through the page cache and back to the disk. */
const fill = (guest: Guest, disk: string, length: number): Promise<string> =>
  guest.check(
    `tr '${BYTE.ZERO}' '${BYTE.ONES}' < /dev/zero | dd of=/dev/${disk} bs=${length} count=1 iflag=fullblock conv=fsync status=none`,
  )

/** Whether a range of blocks of 512 bytes has nothing but that byte. */
const consistsOf = async (guest: Guest, disk: string, byte: string, block: number, count: number): Promise<boolean> => {
  const read = `dd if=/dev/${disk} of=/tmp/range bs=512 skip=${block} count=${count} iflag=direct status=none`
  const sizes = await guest.check(`${read}; wc -c < /tmp/range; tr -d '${byte}' < /tmp/range | wc -c`)
  return sizes === `${count * 512}\n0\n`
}

t.test('sg3_utils and sysfs in a guest', guestTest(PROGRAMS), async (t) => {
  const daemon = await startDaemon(t, luns(sparseImage(tempDir(t), 'disk.img', 64)))
  const report = (): string => daemon.child.report()
  const guest = await startGuest(t, { devices: vhostUserScsi(daemon.socketPath, 2), programs: PROGRAMS, report })
  await guest.check('/lib/systemd/systemd-udevd --daemon; udevadm trigger --action=add; udevadm settle')
  const a = await guest.disk(0, 0)
  const b = await guest.disk(0, 1)
  const readOnly = await guest.disk(0, flat(300))
  const d = await guest.disk(9, 4)
  const last = await guest.disk(255, 0)
  t.equal((await guest.check('ls -d /sys/block/sd*')).trim().split('\n').length, 5, 'there is no other disk')

  t.test('lsblk', async (t) => {
    const columns = 'NAME,HCTL,SERIAL,WWN,SIZE,RO,ROTA,PHY-SEC,LOG-SEC,VENDOR,MODEL,REV'
    const { blockdevices } = JSON.parse(await guest.check(`lsblk -J -b -o ${columns}`)) as {
      blockdevices: Record<string, unknown>[]
    }
    const row = (name: string): Record<string, unknown> | undefined => blockdevices.find((entry) => entry.name === name)
    t.match(row(a), { hctl: '0:0:0:0', serial: 'SER-A1', wwn: `0x${WWN}`, size: 64 * MIB, ro: false, rota: false })
    t.match(row(a), { 'phy-sec': 512, 'log-sec': 512, vendor: /^ACME *$/, model: /^Rapid Disk *$/, rev: /^1\.2 *$/ })
    t.match(row(b), { hctl: '0:0:0:1', size: 32 * MIB, ro: false, rota: true, 'phy-sec': 4096, 'log-sec': 4096 })
    t.match(row(readOnly), { hctl: `0:0:0:${flat(300)}`, serial: 'SER-RO', size: 16 * MIB, ro: true })
    t.match(row(d), { hctl: '0:0:9:4', serial: 'SER-D4', size: 48 * MIB, 'phy-sec': 4096, 'log-sec': 512 })
    t.match(row(last), { hctl: '0:0:255:0', serial: 'SER-LAST', size: 16 * MIB })
    t.equal(new Set(blockdevices.map((entry) => entry.wwn)).size, 5, 'each has a name of its own')
    t.match((await guest.check(`ls -l /dev/disk/by-id/wwn-0x${WWN}`)).trim(), new RegExp(`/${a}$`))
  })

  t.test('queue limits', async (t) => {
    const limits = async (disk: string): Promise<Record<string, string>> => {
      const lines = (await guest.check(`cd /sys/block/${disk}/queue; grep -s . * || true`)).trim().split('\n')
      return Object.fromEntries(lines.map((line) => [line.split(':')[0], line.slice(line.indexOf(':') + 1)]))
    }
    const unmapped = await limits(a)
    t.match(unmapped, { write_cache: 'write back', fua: '1', rotational: '0', logical_block_size: '512' })
    t.ok(Number(unmapped.discard_max_bytes) >= MIB, `discard_max_bytes ${unmapped.discard_max_bytes}`)
    t.ok(Number(unmapped.discard_granularity) >= 512, `discard_granularity ${unmapped.discard_granularity}`)
    t.ok(Number(unmapped.write_zeroes_max_bytes) >= MIB, `write_zeroes_max_bytes ${unmapped.write_zeroes_max_bytes}`)
    t.match(await limits(b), { write_cache: 'write through', rotational: '1', discard_max_bytes: '0' })
    t.match(await limits(b), { logical_block_size: '4096', physical_block_size: '4096' })
    t.match(await limits(d), { logical_block_size: '512', physical_block_size: '4096' })
  })

  t.test('INQUIRY, its pages, capacity, LUNs, opcodes, mode pages', async (t) => {
    t.match(await sg(t, guest, `sg_inq /dev/${a}`), /CmdQue=1.*: ACME.*: Rapid Disk.*: 1\.2/s)
    t.match(await sg(t, guest, `sg_vpd -p 0x00 /dev/${a}`), /\[sn\].*\[di\].*\[bl\].*\[bdc\].*\[lbpv\]/s)
    t.match(await sg(t, guest, `sg_vpd -p 0x80 /dev/${a}`), /Unit serial number: SER-A1/)
    const identification = await sg(t, guest, `sg_vpd -p 0x83 /dev/${a}`)
    t.match(identification, new RegExp(`0x${WWN}`))
    t.notMatch(identification, /error/i)
    t.match(await sg(t, guest, `sg_vpd -p 0xb0 /dev/${a}`), /Maximum unmap LBA count: [1-9]/)
    t.match(await sg(t, guest, `sg_vpd -p 0xb1 /dev/${a}`), /Non-rotating medium/)
    t.match(await sg(t, guest, `sg_vpd -p 0xb1 /dev/${b}`), /Nominal rotation rate: 7200 rpm/)
    t.match(await sg(t, guest, `sg_vpd -p 0xb2 /dev/${a}`), /\(LBPU\): 1.*\(LBPWS\): 1.*\(LBPWS10\): 1/s)

    const capacity = await sg(t, guest, `sg_readcap -l /dev/${a}`)
    t.match(capacity, /lbpme=1, lbprz=1.*Number of logical blocks=131072.*block length=512 bytes.*exponent=0/s)
    t.match(await sg(t, guest, `sg_readcap -l /dev/${b}`), /lbpme=0.*blocks=8192.*block length=4096 bytes/s)
    t.match(await sg(t, guest, `sg_readcap -l /dev/${d}`), /block length=512 bytes.*exponent=3/s)

    t.match(await sg(t, guest, `sg_luns /dev/${a}`), / 3 lun entries.*0000000000000000.*0001.*412c/s)
    t.match(await sg(t, guest, `sg_luns /dev/${d}`), /0004000000000000/)
    t.match(await sg(t, guest, `sg_opcodes /dev/${a}`), /Inquiry.*Read\(10\).*Unmap.*Write same\(16\)/s)
    t.match(await sg(t, guest, `sg_opcodes --opcode=0x28 /dev/${a}`), /supported \[conforming to SCSI standard\]/)
    t.match(await sg(t, guest, `sg_modes -a /dev/${a}`), /WP=0, DpoFua=1.*Caching.*\n 00 +08 12 04/s)
    t.match(await sg(t, guest, `sg_modes -a --six /dev/${b}`), /Caching.*\n 00 +08 12 00/s)
    t.match(await sg(t, guest, `sg_modes -a /dev/${readOnly}`), /WP=1/)
  })

  t.test('UNMAP, WRITE SAME, VERIFY', async (t) => {
    await fill(guest, a, MIB)
    await sg(t, guest, `sg_unmap --lba=8 --num=16 --force /dev/${a}`)
    t.ok(await consistsOf(guest, a, BYTE.ONES, 0, 8))
    t.ok(await consistsOf(guest, a, BYTE.ZERO, 8, 16))
    t.ok(await consistsOf(guest, a, BYTE.ONES, 24, 8))

    await guest.check(`tr '${BYTE.ZERO}' '${BYTE.PATTERN}' < /dev/zero | head -c 512 > /tmp/5a`)
    await sg(t, guest, `sg_write_same --10 --in=/tmp/5a --lba=100 --num=50 /dev/${a}`)
    await sg(t, guest, `sg_write_same --16 --in=/tmp/5a --lba=200 --num=1000 /dev/${a}`)
    await sg(t, guest, `sg_write_same --16 --unmap --lba=300 --num=10 /dev/${a}`)
    await sg(t, guest, `sg_write_same --16 --ndob --lba=400 --num=10 /dev/${a}`)
    t.ok(await consistsOf(guest, a, BYTE.PATTERN, 100, 50))
    t.ok(await consistsOf(guest, a, BYTE.ONES, 150, 50))
    t.ok(await consistsOf(guest, a, BYTE.PATTERN, 200, 100))
    t.ok(await consistsOf(guest, a, BYTE.ZERO, 300, 10))
    t.ok(await consistsOf(guest, a, BYTE.PATTERN, 310, 90))
    t.ok(await consistsOf(guest, a, BYTE.ZERO, 400, 10))
    t.ok(await consistsOf(guest, a, BYTE.PATTERN, 410, 790))
    t.ok(await consistsOf(guest, a, BYTE.ONES, 1200, 48))

    await sg(t, guest, `sg_verify --lba=0 --count=2048 /dev/${a}`)
    await sg(t, guest, `sg_verify --16 --lba=0 --count=8192 /dev/${b}`)
    await sg(t, guest, `sg_verify --ndo=512 --in=/tmp/5a --lba=120 --count=1 /dev/${a}`)
    const differs = `sg_verify --quiet --ndo=512 --in=/tmp/5a --lba=150 --count=1 /dev/${a}`
    await sg(t, guest, differs, SG_STATUS.MISCOMPARE)
    // The block device of a read-only disk can't be opened for writing; the generic one can
    const generic = (await guest.check(`ls /sys/block/${readOnly}/device/scsi_generic`)).trim()
    await sg(t, guest, `sg_write_same --16 --lba=0 --num=8 /dev/${generic}`, SG_STATUS.DATA_PROTECT)
    // A vendor specific opcode
    await sg(t, guest, `sg_raw /dev/${a} f7 00 00 00 00 00 00 00 00 00`, SG_STATUS.INVALID_OPCODE)
  })

  t.test('reset', async (t) => {
    await sg(t, guest, `sg_reset -d /dev/${d}`)
    t.match(await guest.check('dmesg'), /0:0:9:4: device reset/)
    await sg(t, guest, `sg_turs /dev/${a}`)
    await fill(guest, d, MIB)
    t.ok(await consistsOf(guest, d, BYTE.ONES, 0, 2048), 'the disk works after the reset')
    t.notMatch(await guest.check('dmesg'), /offline|I\/O error|reset failed/i)
  })

  await t.test('end', async (t) => {
    await guest.powerOff()
    t.same(await daemon.stop(), { code: 0, signal: null })
  })
})
