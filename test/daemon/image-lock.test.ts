import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { constants, writeFileSync } from 'node:fs'
import { close, openFd } from 'memfd-mmap'
import t, { type Test } from 'tap'
import { ImageLock } from '../../daemon/image-lock.js'

function opened(t: Test, path: string, writable = true): number {
  const fd = openFd(path, writable ? constants.O_RDWR : constants.O_RDONLY)
  t.teardown(() => close(fd))
  return fd
}

function image(t: Test): string {
  const path = `${t.testdir({})}/image`
  writeFileSync(path, Buffer.alloc(65536))
  return path
}

t.test('a writer keeps writers and readers that do not share out', async (t) => {
  const path = image(t)
  const first = new ImageLock(opened(t, path), path, true, false)
  const second = new ImageLock(opened(t, path), path, true, false)
  const reader = new ImageLock(opened(t, path, false), path, false, false)
  first.acquire()
  t.throws(() => second.acquire(), { code: 'VUS_IMAGE_LOCKED', message: /image: another process/ })
  t.throws(() => reader.acquire(), { code: 'VUS_IMAGE_LOCKED' })
  first.release()
  second.acquire()
  t.throws(() => first.acquire(), { code: 'VUS_IMAGE_LOCKED' })
  second.release()
})

t.test('a lock that is not free yet is waited for', async (t) => {
  const path = image(t)
  const [first, second, third] = [0, 1, 2].map(() => new ImageLock(opened(t, path), path, true, false))
  await first!.acquireWithin(0)
  await t.rejects(second!.acquireWithin(0), { code: 'VUS_IMAGE_LOCKED' })
  const both = second!.acquireWithin(60_000)
  // The locks of a process that was killed go without notice, as these do.
  setImmediate(() => first!.release())
  await both
  t.throws(() => third!.acquire(), { code: 'VUS_IMAGE_LOCKED' }, 'it has them')
  await second!.acquireWithin(0)
  second!.release()
  second!.release()
  third!.acquire()
  third!.release()
})

t.test('somebody who was asked to let go is given time', async (t) => {
  const path = image(t)
  const [first, second] = [0, 1].map(() => new ImageLock(opened(t, path), path, true, false))
  first!.acquire()
  second!.expectWithin(60_000)
  const patient = second!.acquireWithin(0)
  setImmediate(() => first!.release())
  await patient
  second!.release()
})

t.test('readers share, and keep a writer out', async (t) => {
  const path = image(t)
  const readers = [0, 1].map(() => new ImageLock(opened(t, path, false), path, false, false))
  const writer = new ImageLock(opened(t, path), path, true, false)
  for (const reader of readers) reader.acquire()
  t.throws(() => writer.acquire(), { code: 'VUS_IMAGE_LOCKED' })
  readers[0]!.release()
  t.throws(() => writer.acquire(), { code: 'VUS_IMAGE_LOCKED' })
  readers[1]!.release()
  writer.acquire()
  writer.release()
})

t.test('writers that share get along', async (t) => {
  const path = image(t)
  const writers = [0, 1].map(() => new ImageLock(opened(t, path), path, true, true))
  for (const writer of writers) writer.acquire()
  for (const writer of writers) writer.release()
})

t.test('who does not share keeps those that share out', async (t) => {
  const path = image(t)
  const sharing = new ImageLock(opened(t, path), path, true, true)
  const alone = new ImageLock(opened(t, path), path, true, false)
  sharing.acquire()
  t.throws(() => alone.acquire(), { code: 'VUS_IMAGE_LOCKED', message: /uses WRITE, which is not shared/ })
  sharing.release()
  alone.acquire()
  t.throws(() => sharing.acquire(), { code: 'VUS_IMAGE_LOCKED', message: /does not share WRITE/ })
  alone.release()
})

t.test('is held as long as anybody holds it', async (t) => {
  const path = image(t)
  const first = new ImageLock(opened(t, path), path, true, false)
  const second = new ImageLock(opened(t, path), path, true, false)
  first.acquire()
  first.acquire()
  first.release()
  t.throws(() => second.acquire(), { code: 'VUS_IMAGE_LOCKED' })
  first.release()
  second.acquire()
  second.release()
})

const QEMU = 'qemu-system-x86_64'
const hasQemu = spawnSync(QEMU, ['--version']).status === 0

/** A QEMU that has the image as a disk and never runs it: whether it came up, and what it said. */
async function qemuWith(
  t: Test,
  path: string,
  shareRw: 'on' | 'off' = 'off',
): Promise<{ isUp: boolean; errors: string }> {
  const qemu = spawn(QEMU, [
    ...['-S', '-accel', 'tcg', '-machine', 'pc', '-m', '64M', '-nodefaults', '-display', 'none', '-qmp', 'stdio'],
    ...['-drive', `if=none,id=disk,format=raw,file=${path}`],
    ...['-device', `virtio-blk-pci,drive=disk,share-rw=${shareRw}`],
  ])
  const ended = once(qemu, 'close')
  t.teardown(async () => {
    qemu.kill('SIGKILL')
    await ended
  })
  let errors = ''
  qemu.stderr.on('data', (chunk) => {
    errors += chunk
  })
  qemu.stdin.on('error', () => {})
  // The monitor greets before the disks are opened, but answers only afterwards.
  qemu.stdin.write('{"execute":"qmp_capabilities"}{"execute":"query-status"}')
  const isUp = await Promise.race([answered(qemu.stdout), ended.then(() => false)])
  return { isUp, errors }
}

async function answered(stdout: NodeJS.ReadableStream): Promise<boolean> {
  let text = ''
  for await (const chunk of stdout) {
    text += String(chunk)
    if (text.includes('"prelaunch"')) return true
  }
  return false
}

t.test("keeps away from an image in QEMU's hands", { skip: hasQemu ? false : 'no QEMU' }, async (t) => {
  const path = image(t)
  const { isUp, errors } = await qemuWith(t, path)
  t.ok(isUp, errors)
  const lock = new ImageLock(opened(t, path), path, true, false)
  t.throws(() => lock.acquire(), { code: 'VUS_IMAGE_LOCKED' })
})

t.test('keeps QEMU away from an image in our hands', { skip: hasQemu ? false : 'no QEMU' }, async (t) => {
  const path = image(t)
  const lock = new ImageLock(opened(t, path), path, true, false)
  lock.acquire()
  const { isUp, errors } = await qemuWith(t, path)
  t.notOk(isUp)
  t.match(errors, /Failed to get .* lock/)
  lock.release()
})

t.test('shares an image with a QEMU that shares it', { skip: hasQemu ? false : 'no QEMU' }, async (t) => {
  const path = image(t)
  const { isUp, errors } = await qemuWith(t, path, 'on')
  t.ok(isUp, errors)
  const sharing = new ImageLock(opened(t, path), path, true, true)
  sharing.acquire()
  const alone = new ImageLock(opened(t, path), path, true, false)
  t.throws(() => alone.acquire(), { code: 'VUS_IMAGE_LOCKED' })
  const second = await qemuWith(t, path, 'on')
  t.ok(second.isUp, second.errors)
  const third = await qemuWith(t, path, 'off')
  t.notOk(third.isUp, 'a QEMU without share-rw')
  t.match(third.errors, /Failed to get .* lock/)
  sharing.release()
})
