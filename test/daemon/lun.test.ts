import { mkdtempSync, readFileSync, rmSync, statfsSync } from 'node:fs'
import { F_SEAL_GROW, F_SEAL_SHRINK, getSeals, raw, TMPFS_MAGIC, viewMemory } from 'memfd-mmap'
import t, { type Test } from 'tap'
import { Lun } from '../../daemon/lun.js'
import { FLAG } from '../../scsi/index.js'
import { sparseImage } from '../support/image.js'
import { lunConfig } from '../support/luns.js'
import { openFiles, sharedMappings } from '../support/proc.js'
import { tempDir } from '../support/temp-dir.js'

const MIB = 2 ** 20

function open(t: Test, overrides: Parameters<typeof lunConfig>[0] = {}): Lun {
  const lun = Lun.open(lunConfig(overrides))
  t.teardown(() => lun.close())
  return lun
}

/** How a descriptor was opened. */
function accessMode(fd: number): number {
  const flags = /^flags:\s+(\d+)$/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8'))![1]!
  return Number.parseInt(flags, 8) & 3
}

t.test('the unit and its state', async (t) => {
  const lun = open(t, { size: 8 * MIB, blockSize: 4096, discard: 'ignore', removable: true })
  t.match(lun.unit, { blockSize: 4096, physicalBlockSize: 4096, discard: false, removable: true, readOnly: false })
  t.match(lun.unit, { vendor: 'VUS', product: 'DISK', revision: '1', serial: 'serial', wwn: '3000000000000001' })
  t.equal(lun.state.capacity, 2048)
  t.equal(lun.state.flags, FLAG.WRITE_CACHE)
  t.equal(open(t, { readOnly: true, writeCache: false }).state.flags, FLAG.READ_ONLY)
  t.equal(open(t).unit.discard, true)
  t.equal(lun.nexuses.size, 0)
})

t.test('memory', async (t) => {
  const files = openFiles(process.pid).size
  const name = '/memfd:vhost-user-scsid:scratch '
  const lun = open(t, { id: 'scratch', size: 3 * MIB })
  const { medium } = lun
  if (medium.kind !== 'memory') throw new Error(medium.kind)
  t.equal(getSeals(medium.fd) & (F_SEAL_GROW | F_SEAL_SHRINK), F_SEAL_GROW | F_SEAL_SHRINK, 'its size is fixed')
  const last = new Uint8Array(viewMemory(medium.address + 3 * MIB - 16, 16))
  t.ok(last.every((byte) => byte === 0))
  last[15] = 7
  const back = viewMemory(medium.address, 4096)
  t.equal(raw.pread(medium.fd, medium.address, 16, 3 * MIB - 16), 16, 'mapping and descriptor are the same memory')
  t.equal(new Uint8Array(back)[15], 7)
  t.equal(lun.lock, undefined)
  t.equal(sharedMappings(process.pid).filter((line) => line.includes(name)).length, 1)
  lun.close()
  t.equal(sharedMappings(process.pid).filter((line) => line.includes(name)).length, 0)
  t.equal(openFiles(process.pid).size, files)
})

t.test('a file', async (t) => {
  const directory = tempDir(t)
  const path = sparseImage(directory, 'disk.img', 2)
  const files = openFiles(process.pid).size
  const lun = open(t, { driver: 'file', path, size: 2 * MIB })
  const { medium } = lun
  if (medium.kind !== 'file') throw new Error(medium.kind)
  t.equal(openFiles(process.pid).get(medium.fd), path)
  t.equal(accessMode(medium.fd), 2, 'O_RDWR')
  t.equal(medium.inline, statfsSync(directory).type === TMPFS_MAGIC)
  t.not(lun.lock, undefined)
  const readOnly = open(t, { driver: 'file', path, size: 2 * MIB, readOnly: true, locking: 'off' })
  t.equal(accessMode((readOnly.medium as { fd: number }).fd), 0, 'O_RDONLY')
  t.equal(readOnly.lock, undefined)
  lun.close()
  readOnly.close()
  t.equal(openFiles(process.pid).size, files)
})

t.test('a file on tmpfs is read and written by the IOThread itself', { skip: !onTmpfs('/dev/shm') }, async (t) => {
  const directory = mkdtempSync('/dev/shm/vus-')
  t.teardown(() => rmSync(directory, { recursive: true }))
  const { medium } = open(t, { driver: 'file', path: sparseImage(directory, 'disk.img', 1) })
  t.match(medium, { kind: 'file', inline: true })
})

function onTmpfs(path: string): boolean {
  try {
    return statfsSync(path).type === TMPFS_MAGIC
  } catch {
    return false
  }
}

t.test('nothing', async (t) => {
  t.same(open(t, { driver: 'null', delayUs: 250 }).medium, { kind: 'null', delayNs: 250_000 })
})

t.test('what cannot be had', async (t) => {
  const files = openFiles(process.pid).size
  const directory = tempDir(t)
  const path = `${directory}/none.img`
  const missing = { name: 'StartError', code: 'ENOENT', message: `lun "root": ${path}: no such file or directory` }
  t.throws(() => Lun.open(lunConfig({ id: 'root', driver: 'file', path })), missing)
  t.throws(() => Lun.open(lunConfig({ driver: 'file', path: directory })), { name: 'StartError', code: 'EISDIR' })
  const huge = { name: 'StartError', message: /^lun "disk0": memory: / }
  t.throws(() => Lun.open(lunConfig({ size: 2 ** 52 })), huge)
  t.equal(openFiles(process.pid).size, files)
})
