import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, renameSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type CpioFile, CpioWriter } from './cpio.js'
import { INIT_SCRIPT, MODULE_LIST } from './init-script.js'
import type { Kernel } from './kernel.js'
import { resolveModules } from './modules.js'
import { sharedLibraries } from './programs.js'

const CACHE = fileURLToPath(new URL('../../../../node_modules/.cache/vhost-user-scsid', import.meta.url))

// sd_mod last: its insmod returns when every disk that virtio_scsi has found is there
const MODULES = ['virtio_pci', 'virtio_console', 'crc32c_generic', 'ext4', 'sg', 'virtio_scsi', 'sd_mod']

/** A host scan that ends before insmod returns, so that a guest which is ready has its disks. */
const PARAMETERS: Record<string, string> = { 'scsi_mod.ko': 'scan=sync' }

/** The programs of an initramfs, by path on this system. */
export interface Contents {
  kernel: Kernel
  busybox: string
  dash: string
  programs: readonly string[]
}

const moduleLine = (path: string): string => {
  const found = Object.entries(PARAMETERS).find(([name]) => path.endsWith(`/${name}`))
  return found === undefined ? path : `${path} ${found[1]}`
}

/**
 * The path of an initramfs with these programs, the libraries that they load, the kernel's modules and INIT_SCRIPT. It
 * is built when no earlier test has built the same. Not compressed: a guest without KVM copies faster than it
 * inflates.
 */
export const buildInitramfs = ({ kernel, busybox, dash, programs }: Contents): string => {
  const modules = resolveModules(kernel.modules, MODULES)
  const copies = [...modules, ...programs, ...sharedLibraries([dash, ...programs])]
  const files: CpioFile[] = [
    { name: '/init', content: INIT_SCRIPT, mode: 0o755 },
    { name: MODULE_LIST, content: `${modules.map(moduleLine).join('\n')}\n`, mode: 0o644 },
    { name: '/etc/mtab', content: '', mode: 0o644 },
    { name: '/bin/busybox', source: busybox },
    { name: '/bin/dash', source: dash },
    ...copies.map((path) => ({ name: path, source: path })),
  ]
  const stamps = files.map((file) => 'source' in file && [statSync(file.source).size, statSync(file.source).mtimeMs])
  const key = createHash('sha256')
    .update(JSON.stringify([files, stamps]))
    .digest('hex')
  const path = join(CACHE, `initramfs-${key.slice(0, 16)}.cpio`)
  if (existsSync(path)) return path

  const archive = new CpioWriter()
  archive.directory('/dev')
  for (const file of files) archive.file(file)
  mkdirSync(CACHE, { recursive: true })
  const temporary = `${path}.${process.pid}`
  writeFileSync(temporary, archive.end())
  renameSync(temporary, path) // another test process may be doing the same
  return path
}
