// Disks that a firmware starts Linux from: a FAT volume without a partition table (a "super-floppy") with the boot loaders of
// Debian, a kernel, and an initramfs which tells what it finds on the disk.
import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { CpioWriter } from './cpio.js'
import { resolveModules } from './modules.js'
import { findRequirements } from './requirements.js'

export const GRUB_EFI = '/usr/lib/grub/x86_64-efi/monolithic/grubx64.efi'

/** What volumes are made with, for guestTest. */
export const BIOS_PROGRAMS = ['mformat', 'mcopy', 'mtype', 'syslinux']
export const UEFI_PROGRAMS = ['mformat', 'mmd', 'mcopy', 'mtype', GRUB_EFI]

const MODULES = ['virtio_pci', 'scsi_mod', 'virtio_scsi', 'sd_mod', 'vfat', 'nls_cp437', 'nls_ascii']
const APPEND = 'console=ttyS0 quiet panic=-1'
/** 64 MiB for mformat: heads, sectors of a track, tracks; such a volume is FAT16. */
const GEOMETRY = ['-h', '64', '-s', '32', '-t', '64']

/** Mounts the disk, tells what message.txt on it says, copies it to answer.txt, and turns the machine off. */
const init = (modules: readonly string[]): string => `#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /dev /mnt
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
${modules.map((path) => `insmod ${path}${path.endsWith('/scsi_mod.ko') ? ' scan=sync' : ''}`).join('\n')}
mount -t vfat /dev/sda /mnt
echo "Linux $(uname -r) on $(cat /sys/block/sda/device/vendor) has read: $(cat /mnt/message.txt)"
cp /mnt/message.txt /mnt/answer.txt
umount /mnt && echo "Linux has written"
poweroff -f
`

const initramfs = (): Buffer => {
  const { kernel, busybox } = findRequirements()
  const modules = resolveModules(kernel.modules, MODULES)
  const archive = new CpioWriter()
  archive.directory('/dev')
  archive.file({ name: '/init', content: init(modules), mode: 0o755 })
  archive.file({ name: '/bin/busybox', source: busybox })
  for (const path of modules) archive.file({ name: path, source: path })
  return archive.end()
}

const mtools = (name: string, image: string, args: readonly string[]): string =>
  execFileSync(name, ['-i', image, ...args], { env: { ...process.env, MTOOLS_SKIP_CHECK: '1' }, encoding: 'utf8' })

/** Formats `image` in the given directory and puts a kernel, an initramfs, the message and further files there. */
const volume = (directory: string, message: string, files: Readonly<Record<string, string>> = {}): string => {
  const image = join(directory, 'disk.img')
  mtools('mformat', image, ['-C', ...GEOMETRY, '::'])
  const put = (content: string | Buffer, to: string): void => {
    const path = join(directory, 'file')
    writeFileSync(path, content)
    mtools('mcopy', image, [path, `::${to}`])
  }
  mtools('mcopy', image, [findRequirements().kernel.image, '::/vmlinuz'])
  put(initramfs(), '/initrd')
  put(message, '/message.txt')
  for (const [to, content] of Object.entries(files)) put(content, to)
  return image
}

/** For BIOS: SYSLINUX in the boot sector. */
export const biosVolume = (directory: string, message: string): string => {
  const config = ['SERIAL 0 115200', 'PROMPT 0', 'DEFAULT linux', 'LABEL linux', 'KERNEL /vmlinuz', 'INITRD /initrd']
  const image = volume(directory, message, { '/syslinux.cfg': `${[...config, `APPEND ${APPEND}`].join('\n')}\n` })
  execFileSync('syslinux', ['--install', image])
  return image
}

/** For UEFI: GRUB where the firmware looks for a boot loader (UEFI 2.10 3.5.1.1), its configuration where Debian's looks for that. */
export const uefiVolume = (directory: string, message: string): string => {
  const config = [`linux /vmlinuz ${APPEND}`, 'initrd /initrd', 'boot']
  const image = volume(directory, message)
  mtools('mmd', image, ['::/EFI', '::/EFI/BOOT', '::/EFI/debian'])
  mtools('mcopy', image, [GRUB_EFI, '::/EFI/BOOT/BOOTX64.EFI'])
  const path = join(directory, 'grub.cfg')
  writeFileSync(path, `${config.join('\n')}\n`)
  mtools('mcopy', image, [path, '::/EFI/debian/grub.cfg'])
  return image
}

/** What Linux has left in answer.txt. */
export const answerOf = (image: string): string => mtools('mtype', image, ['::/answer.txt'])
