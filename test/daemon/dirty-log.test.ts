// What a controller writes to guest memory during a live migration is in the dirty log: a front end that copies what was
// marked, while it goes on, ends up with a copy that equals the memory.
import { randomFillSync } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import {
  featureMask,
  LOG_PAGE,
  PACKED_EVENT,
  packedRingBytes,
  usedBytes,
  VHOST_USER_PROTOCOL_F,
  VQ,
} from 'vhost-user-protocol-ts'
import { LOG_RANGE_FAULT } from '../../iothreads/index.js'
import { ControllerBed } from '../support/controller-bed.js'
import { within } from '../support/deadline.js'
import { read10 } from '../support/iothreads/cdb.js'
import { times } from '../support/long.js'
import { sharedMappings } from '../support/proc.js'
import { Random } from '../support/random.js'
import { tempDir } from '../support/temp-dir.js'
import type { Initiator } from '../support/vhost/initiator.js'
import { Migration } from '../support/vhost/migration.js'
import { QEMU_PROTOCOL_FEATURES } from '../support/vhost/negotiate.js'
import type { Queue } from '../support/vhost/queue.js'
import { ScatteredLoad } from '../support/vhost/scattered-load.js'
import type { RegionOptions } from '../support/vhost/shared-memory.js'

t.setTimeout(300_000)

const PATIENCE = 60_000
const MIB = 2 ** 20
const BLOCK = 512
const JOBS = 24
/** So many that rings have several pages. */
const RING_SIZE = 1024
const PROTOCOL_FEATURES = QEMU_PROTOCOL_FEATURES | featureMask(VHOST_USER_PROTOCOL_F.LOG_SHMFD)
/** What nothing that is read looks like. */
const UNTOUCHED = 0xee

const DRIVER: RegionOptions = { guestAddress: 0, size: 32 * MIB }
/** Above 4 GiB, and not where a word of the log begins. */
const START = 2 ** 32 + 3 * LOG_PAGE

/** Memory for the device's writes that adjoins: pieces of it lie in two regions. */
function adjoining(count: number, size: number): RegionOptions[] {
  return Array.from({ length: count }, (_, i) => {
    const guestAddress = START + i * size
    return { guestAddress, size, mmapOffset: (i % 3) * 5 * LOG_PAGE }
  })
}

async function bedWithDisks(t: Test): Promise<ControllerBed> {
  const path = join(tempDir(t), 'disk.img')
  writeFileSync(path, randomFillSync(Buffer.alloc(4 * MIB)))
  return ControllerBed.start(t, {
    luns: [
      { id: 'file', driver: 'file', path, size: 4 * MIB },
      { id: 'memory', size: 4 * MIB },
      { id: 'slow', driver: 'null', size: 4 * MIB, delayUs: 3000 },
      { id: 'loose' },
    ],
    iothreads: 3,
  })
}

type Range = readonly [address: number, length: number]

/** Of a ring: the parts that only the device writes to, and those that the driver writes to as well. */
function ringRanges({ driver }: Queue): { own: Range; shared: readonly Range[] } {
  const { packed, size, usedAddress, descAddress } = driver
  if (!packed) return { own: [usedAddress, usedBytes(size)], shared: [] }
  return { own: [usedAddress, PACKED_EVENT.SIZE], shared: [[descAddress, packedRingBytes(size)]] }
}

const pagesOf = ([address, length]: Range): number[] => {
  const first = Math.floor(address / LOG_PAGE)
  return Array.from({ length: Math.floor((address + length - 1) / LOG_PAGE) - first + 1 }, (_, i) => first + i)
}

/** The pages of a ring that the device may write to. */
const ringPages = (queue: Queue): number[] => {
  const { own, shared } = ringRanges(queue)
  return [own, ...shared].flatMap(pagesOf)
}

for (const [name, regions] of [
  ['one region', adjoining(1, 48 * MIB)],
  ['regions that adjoin', adjoining(24, 2 * MIB + LOG_PAGE)],
] as const) {
  for (let seed = 1; seed <= times(1); seed++) {
    t.test(`the copy of ${name} equals the memory, seed ${seed}`, async (t) => {
      const bed = await bedWithDisks(t)
      const { controller, iothreads } = bed
      const spare = { guestAddress: 2 ** 34, size: MIB }
      const { initiator } = await bed.connect(t, {
        memory: [DRIVER, ...regions, spare],
        ringSize: RING_SIZE,
        protocolFeatures: PROTOCOL_FEATURES,
      })
      for (const lun of [0, 1, 2]) await initiator.ready(0, lun)
      for (const { buffer } of initiator.memory.regions.slice(1)) new Uint8Array(buffer).fill(UNTOUCHED)
      const random = new Random(seed)
      const disks = [0, 1, 2].map((lun) => ({ target: 0, lun, blocks: (4 * MIB) / BLOCK }))
      const end = regions.reduce((sum, { size }) => sum + size, START)
      const load = new ScatteredLoad(initiator, disks, random, START, end)
      const migration = new Migration(initiator)
      t.teardown(() => migration.close())
      const running = load.run(JOBS)
      running.catch(() => {})
      const some = (share: number) => within(PATIENCE, 'some requests', Promise.race([load.advance(share), running]))

      await some(0.05)
      await migration.replaceLog()
      await migration.setLogging(true)
      migration.copyAll()
      const place = controller.luns.find(({ id }) => id === 'loose')!
      const lun = bed.luns.find(({ config }) => config.id === 'loose')!
      let collected = 0
      for (let round = 0; round < 8; round++) {
        await some(0.1)
        collected += migration.collect()
        const told = load.event()
        await controller.detachLun('loose')
        await within(PATIENCE, 'an event', told)
        for (const queue of [0, 1, 2, 3]) await controller.moveQueue(queue, random.pick(iothreads))
        collected += migration.collect()
        await migration.replaceLog(migration.logSize + 8 * random.below(100), 8 * random.below(600))
        const region = initiator.memory.regions.at(-1)!
        await initiator.frontEnd.remMemReg(region)
        const again = load.event()
        await controller.attachLun(lun, place)
        await within(PATIENCE, 'an event', again)
        collected += migration.collect()
        await initiator.frontEnd.addMemReg(region, region.fd)
      }
      await some(1)
      await within(PATIENCE, 'the rest of the load', running)
      // What both write to: the driver has done so for the last time, and what it has written is copied.
      const rings = initiator.queues.map(ringRanges)
      const last = load.last(disks[2]!)
      for (const range of rings.flatMap(({ shared }) => shared)) migration.copy(...range)
      await within(PATIENCE, 'the last requests', last)
      await initiator.stop()
      migration.collect()

      const ranges: Range[] = rings.flatMap(({ own, shared }) => [own, ...shared])
      for (const { guestAddress, size } of regions) ranges.push([guestAddress, size])
      for (const [address, length] of ranges) {
        const pages = migration.differences(address, length)
        t.same(pages, [], `0x${address.toString(16)}: ${length} bytes`)
      }
      t.ok(collected > 1000, `${collected} pages were copied while the load went on`)
      t.equal(migration.collect(), 0, 'nothing is written after the rings have stopped')
      const used = new Set(initiator.queues.flatMap(ringPages))
      const foreign = [...migration.marked].filter((page) => page < START / LOG_PAGE && !used.has(page))
      t.same(foreign, [], 'and nothing is marked that only the driver writes to')
      t.equal(load.done.size, 18, 'of every kind of request there were some', { done: load.done })
      t.same([bed.faults, bed.failures], [[], []])
    })
  }
}

/** A disk, and a front end that can log. */
async function plain(t: Test): Promise<{ bed: ControllerBed; initiator: Initiator; migration: Migration }> {
  const bed = await ControllerBed.start(t)
  const { initiator } = await bed.connect(t, { memory: [DRIVER], protocolFeatures: PROTOCOL_FEATURES })
  await initiator.ready(0, 0)
  const migration = new Migration(initiator)
  t.teardown(() => migration.close())
  return { bed, initiator, migration }
}

const readSome = async (initiator: Initiator): Promise<void> => {
  for (const queue of [0, 1, 2, 3]) {
    const { status } = await initiator.scsi({ cdb: read10(0, 8), dataIn: 4096 }, { queue })
    if (status !== 0) throw new Error(`status ${status}`)
  }
  await initiator.tmf(1, 0, 0)
}

/** Of the rings that something has been answered on. */
const usedPages = ({ queues }: Initiator): number[] =>
  queues.filter(({ index }) => index !== VQ.EVENT).flatMap(ringPages)

t.test('nothing is marked without a log, without LOG_ALL, and after a migration that was cancelled', async (t) => {
  const { initiator, migration } = await plain(t)
  await migration.setLogging(true)
  await readSome(initiator)
  await migration.replaceLog()
  migration.collect()
  const rings = initiator.queues.flatMap(ringPages)
  t.same(
    [...migration.marked].filter((page) => !rings.includes(page)),
    [],
    'what came before there was a log',
  )
  await readSome(initiator)
  t.ok(migration.collect() > 0, 'the log comes after the feature')
  t.ok(
    usedPages(initiator).every((page) => migration.marked.has(page)),
    'used rings',
  )
  await migration.setLogging(false)
  migration.collect()
  await readSome(initiator)
  t.equal(migration.collect(), 0, 'cancelled')
  await migration.setLogging(true)
  await readSome(initiator)
  t.ok(migration.collect() > 0, 'and begun again, in the same log')
})

t.test('the used ring is logged if its flag says so', async (t) => {
  const { initiator, migration } = await plain(t)
  await migration.replaceLog()
  await migration.setLogging(true, 0)
  await readSome(initiator)
  t.ok(migration.collect() > 0, 'what is answered is')
  t.notOk(usedPages(initiator).some((page) => migration.marked.has(page)))
})

t.test('writes beyond the log are told of', async (t) => {
  const { bed, initiator, migration } = await plain(t)
  await migration.replaceLog(4)
  await migration.setLogging(true)
  await readSome(initiator)
  for (let queue = 0; queue < 4; queue++) {
    t.ok(bed.controller.queue(queue).statistics!.readFault(LOG_RANGE_FAULT) > 0, `queue ${queue}`)
  }
  t.same(bed.faults, [[0, LOG_RANGE_FAULT]], 'control queue')
  await readSome(initiator)
  await migration.replaceLog()
  await readSome(initiator)
  const counts = [0, 1, 2, 3].map((queue) => bed.controller.queue(queue).statistics!.readFault(LOG_RANGE_FAULT))
  await readSome(initiator)
  const later = [0, 1, 2, 3].map((queue) => bed.controller.queue(queue).statistics!.readFault(LOG_RANGE_FAULT))
  t.same(later, counts, 'a log that is large enough ends it')
})

t.test('a log that cannot be used leaves the old one', async (t) => {
  const { initiator, migration } = await plain(t)
  const mappings = sharedMappings(process.pid).length
  await migration.replaceLog()
  await migration.setLogging(true)
  const [region] = initiator.memory.regions
  for (const part of [
    { size: 6, offset: 0 },
    { size: 8, offset: 4 },
    { size: 2 * DRIVER.size, offset: 0 },
  ]) {
    await t.rejects(initiator.frontEnd.setLogBase({ fd: region!.fd, ...part }), { code: 'VUS_NACK' })
  }
  await readSome(initiator)
  t.ok(migration.collect() > 0)
  // One of ours and one of the controller's.
  t.equal(sharedMappings(process.pid).length, mappings + 2)
  await migration.replaceLog()
  await initiator.close()
  migration.close()
})

t.test('the log goes with the connection', async (t) => {
  const bed = await ControllerBed.start(t)
  const before = sharedMappings(process.pid).filter((line) => line.includes('vhost-log')).length
  const { initiator, session } = await bed.connect(t, { memory: [DRIVER], protocolFeatures: PROTOCOL_FEATURES })
  const migration = new Migration(initiator)
  t.teardown(() => migration.close())
  await migration.replaceLog()
  await migration.setLogging(true)
  const mappings = (): number => sharedMappings(process.pid).filter((line) => line.includes('vhost-log')).length
  t.equal(mappings(), before + 2)
  await initiator.close()
  await session.closed
  t.equal(mappings(), before + 1, 'only the one of the front end is left')
  const next = await bed.connect(t, { memory: [DRIVER], protocolFeatures: PROTOCOL_FEATURES })
  await next.initiator.ready(0, 0)
  await readSome(next.initiator)
})
