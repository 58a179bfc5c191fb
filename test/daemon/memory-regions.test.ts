// Guest memory of any shape: many regions, far up, larger than what a view can show, and in huge pages.
import { close, createMemfd, F_SEAL_SHRINK } from 'memfd-mmap'
import t, { type Test } from 'tap'
import { featureMask, VHOST_USER_PROTOCOL_F } from 'vhost-user-protocol-ts'
import { ControllerBed } from '../support/controller-bed.js'
import { startDaemon } from '../support/daemon.js'
import { followLog } from '../support/daemon-log.js'
import { eventually } from '../support/deadline.js'
import { writeAndRead } from '../support/hostile/bed.js'
import { HUGE_PAGE, hugePages } from '../support/huge-pages.js'
import { sparseImage } from '../support/image.js'
import { openFiles, sharedMappings } from '../support/proc.js'
import { tempDir } from '../support/temp-dir.js'
import { Initiator } from '../support/vhost/initiator.js'
import { QEMU_PROTOCOL_FEATURES } from '../support/vhost/negotiate.js'
import { PlacedCommands, type Range } from '../support/vhost/placed-command.js'

t.setTimeout(240_000)

const MIB = 2 ** 20
const GIB = 2 ** 30
const PAGE = 4096
const SLOTS = 509
const PATIENCE = 30_000
const LOW = { guestAddress: 0, size: 16 * MIB }
/** A disk of memory is copied by an IOThread, a file's blocks by the kernel. */
const DISKS = ['memory', 'file'] as const

const startBed = (t: Test): Promise<ControllerBed> =>
  ControllerBed.start(t, {
    luns: [{}, { driver: 'file', path: sparseImage(tempDir(t), 'disk', 1) }],
  })

/** Writes and reads both disks through pairs of ranges. */
async function runAll(t: Test, initiator: Initiator, pairs: readonly (readonly [Range, Range])[]): Promise<void> {
  for (const [lun, name] of DISKS.entries()) {
    await initiator.ready(0, lun)
    const commands = new PlacedCommands(initiator, { queue: lun, lun })
    const wrong: string[] = []
    for (const [i, [from, to]] of pairs.entries()) {
      const fault = await commands.through(1 + i, from, to)
      if (fault !== undefined) wrong.push(`pair ${i}: ${fault}`)
    }
    t.same(wrong, [], `${pairs.length} writes and reads, ${name}`)
  }
}

t.test('as many regions as there are slots, and buffers in each of them and across all of their borders', async (t) => {
  const bed = await startBed(t)
  const size = 4 * PAGE
  const first = 2 ** 32
  const others = Array.from({ length: SLOTS - 1 }, (_, i) => ({
    guestAddress: first + i * size,
    size,
    // Every other one lies in its file behind a page of something else.
    mmapOffset: (i % 2) * PAGE,
  }))
  const mappings = sharedMappings(process.pid).length
  const { initiator, session } = await bed.connect(t, { memory: [LOW, ...others] })
  const { regions } = initiator.memory
  t.equal(regions.length, SLOTS)
  const start = (i: number): number => first + (i % others.length) * size
  const inside = (i: number): Range => ({ address: start(i) + 512 + 3, length: 2 * PAGE })
  // Over one border, and, for some, with a whole region between two of them.
  const across = (i: number): Range => {
    const at = Math.min(i, others.length - 3)
    return { address: start(at) + size - 1536 - 5, length: i % 16 === 0 ? size + 2 * PAGE : 2 * PAGE }
  }
  const pairs = others.flatMap((_, i): [Range, Range][] => {
    const length = across(i).length
    return [
      [inside(i), inside(i + 7)],
      [across(i), { address: across(i + 101).address, length: Math.min(length, across(i).length) }],
    ]
  })
  await runAll(t, initiator, pairs)

  const more = { guestAddress: 2 ** 40, size: PAGE, userAddress: 2 ** 45, mmapOffset: 0 }
  const descriptors = openFiles(process.pid).size
  await t.rejects(initiator.frontEnd.addMemReg(more, regions[1]!.fd), { code: 'VUS_NACK' }, 'one more')
  t.equal(openFiles(process.pid).size, descriptors)
  await initiator.frontEnd.remMemReg(regions[SLOTS - 1]!)
  const gone = new PlacedCommands(initiator)
  t.not((await gone.run('write', 0, { address: start(SLOTS - 2), length: 512 })).response, 0, 'a region that is gone')
  await initiator.frontEnd.addMemReg(more, regions[1]!.fd)
  await writeAndRead(initiator, 2, 1)
  t.same([bed.faults.length, bed.failures], [0, []])
  await initiator.close()
  await session.closed
  await eventually(PATIENCE, 'unmapping', () => sharedMappings(process.pid).length === mappings || undefined)
  t.pass('all of them are unmapped')
})

t.test('rings and data far up, and a region that is larger than 4 GiB', async (t) => {
  const bed = await startBed(t)
  const far = 2 ** 46
  const large = { guestAddress: far, size: 6 * GIB + 3 * PAGE, userAddress: 2 ** 47 - 64 * GIB, mmapOffset: PAGE }
  const behind = { guestAddress: far + large.size, size: 8 * PAGE, userAddress: 2 ** 40 }
  const { initiator } = await bed.connect(t, { memory: [LOW, large, behind], ringRegion: 1 })
  t.ok(initiator.request(0).driver.descAddress >= far, 'rings')
  const end = far + large.size
  // Around each multiple of 512 MiB, 4 GiB among them; the last block; over the end into the next region.
  const places = Array.from({ length: 12 }, (_, i) => far + (i + 1) * (GIB / 2) - 1031)
  places.push(end - 2 * PAGE, end - PAGE - 7)
  const range = (address: number): Range => ({ address, length: 2 * PAGE })
  await runAll(
    t,
    initiator,
    places.map((address, i) => [range(address), range(places[(i + 5) % places.length]!)]),
  )
  const commands = new PlacedCommands(initiator)
  const beyond = behind.guestAddress + behind.size - PAGE
  t.not((await commands.run('read', 0, range(beyond))).response, 0, 'a buffer that ends outside of memory')
  await writeAndRead(initiator, 1, 1)
  t.same([bed.faults.length, bed.failures], [0, []])
})

t.test('huge pages, with regions that begin and end within them', async (t) => {
  const missing = hugePages(t, 8)
  if (missing !== undefined) {
    t.pass(missing, { skip: missing })
    return
  }
  const bed = await startBed(t)
  const mappings = sharedMappings(process.pid).length
  const memory = [
    LOW,
    { guestAddress: 2 ** 32, size: 2 * HUGE_PAGE, huge: true },
    // QEMU splits memory around the hole below 4 GiB, and others where they like.
    { guestAddress: 2 ** 33, size: HUGE_PAGE + 5 * PAGE, mmapOffset: HUGE_PAGE + 3 * PAGE, huge: true },
    { guestAddress: 2 ** 33 + HUGE_PAGE + 5 * PAGE, size: 7 * PAGE, mmapOffset: PAGE, huge: true },
  ]
  const { initiator, session } = await bed.connect(t, { memory, ringRegion: 1 })
  const range = (address: number): Range => ({ address, length: 4 * PAGE })
  const middle = 2 ** 33 + HUGE_PAGE
  // The first pages, over a border of huge pages, over the border of two regions, and the last ones.
  const places = [2 ** 33, 2 ** 33 + HUGE_PAGE - 5 * PAGE - 1, middle + 3 * PAGE + 9, middle + 8 * PAGE]
  const pairs = places.map((address, i) => [range(address), range(places[(i + 1) % 4]!)] as const)
  await runAll(t, initiator, pairs)
  const [, , second] = initiator.memory.regions
  for (let i = 0; i < 20; i++) {
    await initiator.frontEnd.remMemReg(second!)
    await initiator.frontEnd.addMemReg(second!, second!.fd)
  }
  await runAll(t, initiator, pairs)
  t.same([bed.faults.length, bed.failures], [0, []])
  await initiator.close()
  await session.closed
  await eventually(PATIENCE, 'the controller', () => sharedMappings(process.pid).length === mappings || undefined)
  t.pass('all of them are unmapped')
})

t.test('memory that can shrink is told of, at the level debug', async (t) => {
  const daemon = await startDaemon(t, [
    '--log-level=debug',
    '--log-format=json',
    '--lun=driver=memory,size=1M',
    '--num-queues=1',
  ])
  const log = followLog(daemon)
  const told = (): number => log.filter(({ msg, level }) => /sealed against shrinking/.test(msg) && level === 20).length
  const sealed = await Initiator.connect(daemon.socketPath, { memory: [LOW] })
  await sealed.ready(0, 0)
  await sealed.close()
  t.equal(told(), 0, 'sealed')
  const open = await Initiator.connect(daemon.socketPath, {
    memory: [LOW, { guestAddress: 2 ** 32, size: MIB, sealed: false }],
    protocolFeatures: QEMU_PROTOCOL_FEATURES | featureMask(VHOST_USER_PROTOCOL_F.LOG_SHMFD),
  })
  t.teardown(() => open.close())
  await open.ready(0, 0)
  await eventually(PATIENCE, 'the line', () => (told() > 0 ? true : undefined))
  t.equal(told(), 1, 'one line for one region')
  const size = 2 * PAGE
  const seals = [F_SEAL_SHRINK, 0]
  for (const [i, seal] of seals.entries()) {
    const fd = createMemfd('log', size, seal)
    t.teardown(() => close(fd))
    await open.frontEnd.setLogBase({ fd, size, offset: 0 })
    await open.frontEnd.barrier()
    await eventually(PATIENCE, 'the line', () => (told() === 1 + i ? true : undefined))
  }
  t.equal(told(), 2, 'and one for a log')
})
