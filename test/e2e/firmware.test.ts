import { randomUUID } from 'node:crypto'
import { closeSync, openSync, readFileSync, readSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import type { Duplex } from 'node:stream'
import t from 'tap'
import { startDaemon } from '../support/daemon.js'
import { reported, within } from '../support/deadline.js'
import { bootSector, COPY_BLOCK, DEBUG_PORT, MESSAGE_BLOCK } from '../support/guest/boot-sector.js'
import { efiApplication } from '../support/guest/efi-application.js'
import { efiVolume } from '../support/guest/fat.js'
import { type Qemu, startQemu, vhostUserScsi } from '../support/guest/qemu.js'
import { findRequirements, guestTest } from '../support/guest/requirements.js'
import { sparseImage } from '../support/image.js'
import { tempDir } from '../support/temp-dir.js'

t.setTimeout(300_000)

const BLOCK = 512
const BOOT = 120_000
const LEGACY_STATUS = 18
/** ACKNOWLEDGE, DRIVER and DRIVER_OK; virtio 1.3 2.1. */
const STARTED = 7
const FEATURES_OK = 8
const OVMF = '/usr/share/qemu/OVMF.fd'

const DEBUG_CONSOLE = ['-device', `isa-debugcon,iobase=${DEBUG_PORT},chardev=socket0`]

/** Reads `socket` until `pattern` is found. */
const received = (socket: Duplex, pattern: RegExp): Promise<string> =>
  new Promise((resolve, reject) => {
    let text = ''
    socket.on('data', (bytes: Buffer) => {
      text += bytes.toString('latin1')
      if (pattern.test(text)) resolve(text)
    })
    socket.on('close', () => reject(new Error(`QEMU has ended; until then it said: ${text}`)))
  })

interface PciDevice {
  qdev_id: string
  regions: { bar: number; address: number }[]
}

/**
 * The device status that the firmware's driver has set, read through the legacy interface, which a transitional device
 * has beside the modern one (virtio 1.3 4.1.4.8). QEMU 7.2 crashes on x-query-virtio-status for this device.
 */
const deviceStatus = async ({ qmp }: Qemu): Promise<number> => {
  const buses = await qmp.execute<{ devices: PciDevice[] }[]>('query-pci')
  const device = buses.flatMap(({ devices }) => devices).find(({ qdev_id }) => qdev_id === 'scsi0')
  const ports = device?.regions.find(({ bar }) => bar === 0)
  if (ports === undefined) throw new Error('the device has no legacy interface')
  const answer = await qmp.execute<string>('human-monitor-command', {
    'command-line': `i /1xb ${ports.address + LEGACY_STATUS}`,
  })
  return Number(/= (0x\w+)/.exec(answer)?.[1])
}

t.test('SeaBIOS boots from a disk and writes to it', guestTest(), async (t) => {
  const message = randomUUID()
  const image = sparseImage(tempDir(t), 'bios.img', 16)
  const fd = openSync(image, 'r+')
  writeSync(fd, bootSector(), 0, BLOCK, 0)
  writeSync(fd, message, MESSAGE_BLOCK * BLOCK)
  closeSync(fd)

  // the disk is not the first one that the firmware meets
  const luns = [`--lun=target=5,lun=1,path=${image}`, '--lun=target=200,lun=0,driver=memory,size=16M']
  const daemon = await startDaemon(t, luns)
  const device = vhostUserScsi(daemon.socketPath, 1, 'bootindex=0')
  const args = [...DEBUG_CONSOLE, ...device]
  const qemu = await startQemu(t, { qemu: findRequirements().qemu, memory: '256M', cpus: 1, sockets: 1, args })
  const report = (): string => qemu.child.report() + daemon.child.report()
  const said = received(qemu.sockets[0]!, /[+!]/)
  t.equal(await reported(within(BOOT, 'boot sector', said), report), `${message}+`)
  t.equal(await deviceStatus(qemu), STARTED | FEATURES_OK, 'a modern session')
  await qemu.child.kill()

  const copy = Buffer.alloc(message.length)
  const opened = openSync(image, 'r')
  readSync(opened, copy, 0, copy.length, COPY_BLOCK * BLOCK)
  closeSync(opened)
  t.equal(copy.toString(), message)
  t.same(await daemon.stop(), { code: 0, signal: null })
})

t.test('UEFI firmware boots from a disk through the legacy interface', guestTest([OVMF]), async (t) => {
  const message = randomUUID()
  const image = join(tempDir(t), 'efi.img')
  const volume = efiVolume(efiApplication(`${message}+`, 256 * 1024))
  const fd = openSync(image, 'w')
  writeSync(fd, volume)
  closeSync(fd)

  const daemon = await startDaemon(t, [`--lun=target=0,lun=0,path=${image}`])
  const device = vhostUserScsi(daemon.socketPath, 1, 'bootindex=0')
  const args = ['-bios', OVMF, ...DEBUG_CONSOLE, ...device]
  const qemu = await startQemu(t, { qemu: findRequirements().qemu, memory: '256M', cpus: 1, sockets: 1, args })
  const report = (): string => qemu.child.report() + daemon.child.report()
  const said = received(qemu.sockets[0]!, /\+/)
  t.equal(await reported(within(BOOT, 'boot loader', said), report), `${message}+`)
  t.equal(await deviceStatus(qemu), STARTED, 'a session without FEATURES_OK, and so without VERSION_1')
  await qemu.child.kill()
  t.ok(readFileSync(image).equals(volume), 'the firmware has changed nothing')
  t.same(await daemon.stop(), { code: 0, signal: null })
})
