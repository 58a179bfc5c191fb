// A firmware finds a boot loader on a disk, the boot loader a kernel, and the kernel has the disk as its root would be.
import { randomUUID } from 'node:crypto'
import t, { type Test } from 'tap'
import { startDaemon } from '../support/daemon.js'
import { reported, within } from '../support/deadline.js'
import { answerOf, BIOS_PROGRAMS, biosVolume, UEFI_PROGRAMS, uefiVolume } from '../support/guest/bootable.js'
import { noErrorInDaemon } from '../support/guest/load-check.js'
import { startQemu, vhostUserScsi } from '../support/guest/qemu.js'
import { findRequirements, guestTest } from '../support/guest/requirements.js'
import { tempDir } from '../support/temp-dir.js'

const BOOT = 240_000
const OVMF = '/usr/share/qemu/OVMF.fd'

t.setTimeout(2 * BOOT + 60_000)

const boots = async (
  t: Test,
  volume: (directory: string, message: string) => string,
  firmware: readonly string[],
): Promise<void> => {
  const message = randomUUID()
  const image = volume(tempDir(t), message)
  const daemon = await startDaemon(t, [`--lun=target=0,lun=0,path=${image},vendor=BOOTED`])
  const { qemu: program, kernel } = findRequirements()
  const args = [...firmware, ...vhostUserScsi(daemon.socketPath, 1, 'bootindex=0')]
  const qemu = await startQemu(t, { qemu: program, memory: '512M', cpus: 1, args })
  const report = (): string => qemu.child.report() + daemon.child.report()
  const ended = reported(within(BOOT, 'the end of Linux', qemu.child.exit), report)
  t.same(await ended, { code: 0, signal: null })
  const { stdout } = qemu.child
  t.ok(stdout.includes(`Linux ${kernel.release} on BOOTED   has read: ${message}`), 'Linux has read its disk', {
    stdout,
  })
  t.ok(stdout.includes('Linux has written'), 'and written to it')
  await noErrorInDaemon(t, daemon)
  t.same(await daemon.stop(), { code: 0, signal: null })
  t.equal(answerOf(image), message, 'what it has written is there')
}

t.test('SeaBIOS, SYSLINUX and Linux from a super-floppy', guestTest(BIOS_PROGRAMS), (t) => boots(t, biosVolume, []))

t.test('OVMF, GRUB and Linux from a default, transitional device', guestTest([OVMF, ...UEFI_PROGRAMS]), (t) =>
  boots(t, uefiVolume, ['-bios', OVMF]),
)
