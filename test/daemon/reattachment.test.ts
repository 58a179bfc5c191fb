/** Request queues that move between IOThreads while a guest uses them (vhost's ATTACH_VRING_WORKER on a live ring). */
import { existsSync, readFileSync } from 'node:fs'
import t, { type Test } from 'tap'
import { VQ } from 'vhost-user-protocol-ts'
import { FIELD, THREAD_FIELD } from '../../iothreads/index.js'
import { ControllerBed } from '../support/controller-bed.js'
import { within } from '../support/deadline.js'
import { sparseImage } from '../support/image.js'
import { times } from '../support/long.js'
import { Random } from '../support/random.js'
import { tempDir } from '../support/temp-dir.js'
import type { Initiator } from '../support/vhost/initiator.js'
import { VerifiedLoad } from '../support/vhost/verified-load.js'

t.setTimeout(600_000)

const QUEUES = [0, 1, 2, 3]
const DEPTH = 32
const PATIENCE = 60_000
/** Of `npm run test:long`: 1,000. */
const MOVES = times(50)

async function bedWith(t: Test, iothreads: number, queueToIothread: number[]) {
  const image = sparseImage(tempDir(t), 'disk.img', 4)
  const luns = [
    { driver: 'file', path: image, size: 4 * 2 ** 20 },
    { driver: 'memory', size: 4 * 2 ** 20 },
  ] as const
  const bed = await ControllerBed.start(t, { luns, iothreads, config: { queueToIothread } })
  const { initiator, session } = await bed.connect(t, { deadline: PATIENCE, ringSize: 512 })
  for (const lun of [0, 1]) for (const queue of QUEUES) await initiator.ready(0, lun, { queue })
  return { bed, initiator, session, image }
}

const fetchedBy = (bed: ControllerBed): number[] =>
  bed.iothreads.map(({ statistics }) => statistics.read(THREAD_FIELD.REQUESTS))

const handledBy = (bed: ControllerBed, queue: number): number =>
  bed.controller.queue(queue).statistics!.total(FIELD.REQUESTS)

/** Runs a load for as long as `during` takes; how many commands each queue was given. */
async function underLoad(initiator: Initiator, lun: number, during: () => Promise<void>): Promise<number[]> {
  const load = new VerifiedLoad(initiator, { queues: QUEUES, depth: DEPTH, lun })
  await Promise.race([during(), load.failed])
  await within(PATIENCE, 'the end of the load', load.stop())
  return load.submitted
}

/** Waits until each queue has had so many commands more. */
async function progress(bed: ControllerBed, commands: number): Promise<void> {
  const from = QUEUES.map((queue) => handledBy(bed, queue))
  const done = () => QUEUES.every((queue) => handledBy(bed, queue) >= from[queue]! + commands)
  const end = performance.now() + PATIENCE
  while (!done()) {
    if (performance.now() > end) throw new Error('the load does not go on')
    await new Promise((resolve) => setImmediate(resolve))
  }
}

for (const [iothreads, mapping] of [
  [2, [0, 1, 0, 1]],
  [4, [0, 1, 2, 3]],
  [4, [3, 3, 1, 1]],
] as const) {
  t.test(
    `queues ${mapping.join(' ')} of ${iothreads} IOThreads are served by the threads that they are mapped to`,
    async (t) => {
      const { bed, initiator } = await bedWith(t, iothreads, [...mapping])
      for (const [i, { tid, id }] of bed.iothreads.entries()) {
        t.ok(existsSync(`/proc/self/task/${tid}`), `${id} is thread ${tid}`)
        t.equal(readFileSync(`/proc/self/task/${tid}/comm`, 'utf8'), `io${i}\n`)
      }
      const before = fetchedBy(bed)
      const submitted = await underLoad(initiator, 0, () => progress(bed, 200))
      const expected = bed.iothreads.map((_, i) =>
        QUEUES.reduce((sum, queue) => sum + (mapping[queue] === i ? submitted[queue]! : 0), 0),
      )
      t.same(
        fetchedBy(bed).map((count, i) => count - before[i]!),
        expected,
        'each thread fetched what its queues were given, and nothing else',
      )
      for (const queue of QUEUES) t.equal(bed.controller.queue(queue).iothread, bed.iothreads[mapping[queue]!])
    },
  )
}

for (const [lun, name] of ['a file', 'memory'].entries()) {
  t.test(`${MOVES} random moves under load: ${name}`, async (t) => {
    const { bed, initiator, image } = await bedWith(t, 4, [0, 1, 2, 3])
    const random = new Random(20)
    const pauses: number[] = []
    const fetched = fetchedBy(bed)
    const handled = QUEUES.map((queue) => handledBy(bed, queue))
    const load = new VerifiedLoad(initiator, { queues: QUEUES, depth: DEPTH, lun })
    const moves = async (): Promise<void> => {
      await progress(bed, DEPTH)
      for (let i = 0; i < MOVES; i++) {
        const queue = random.pick(QUEUES)
        const from = bed.controller.queue(queue).iothread
        const to = random.pick(bed.iothreads.filter((iothread) => iothread !== from))
        pauses.push(await within(PATIENCE, 'a move', bed.controller.moveQueue(queue, to)))
        if (bed.controller.queue(queue).iothread !== to) throw new Error('it has not moved')
      }
      await progress(bed, DEPTH)
    }
    await Promise.race([moves(), load.failed])
    const versions = await within(PATIENCE, 'the end of the load', load.stop())
    const total = load.submitted.reduce((sum, count) => sum + count, 0)
    t.equal(pauses.length, MOVES)
    t.ok(pauses.every((pause) => pause > 0))
    t.equal(total, 2 * versions, 'every command was answered, with the data that it should have')
    t.same(
      QUEUES.map((queue) => handledBy(bed, queue) - handled[queue]!),
      load.submitted,
      'each queue handled what it was given, once',
    )
    const byThreads = fetchedBy(bed).map((count, i) => count - fetched[i]!)
    t.equal(
      byThreads.reduce((sum, count) => sum + count, 0),
      total,
      'no request was fetched by two threads',
    )
    t.ok(
      byThreads.every((count) => count > 0),
      'all threads had a part in it',
    )
    t.same(
      QUEUES.map((queue) => bed.controller.queue(queue).moves).reduce((sum, count) => sum + count, 0),
      MOVES,
    )
    for (const queue of QUEUES) t.equal(initiator.request(queue).broken, undefined)
    t.same(bed.faults, [])
    t.same(bed.failures, [])
    if (lun === 0) t.equal(readFileSync(image).readUInt32LE(4) > 0, true, 'the image has it')
    pauses.sort((a, b) => a - b)
    const us = (part: number): string => `${(pauses[Math.floor(part * (pauses.length - 1))]! / 1000).toFixed(0)} us`
    t.comment(`${total} commands; a move pauses its queue for ${us(0.5)} (median), ${us(0.99)} (p99), ${us(1)} (most)`)
  })
}

t.test('moves, changes of memory, and queues that stop and start, all at once', async (t) => {
  const { bed, initiator } = await bedWith(t, 3, [0, 1, 2, 0])
  const random = new Random(5)
  const loaded = [0, 1, 2]
  const load = new VerifiedLoad(initiator, { queues: loaded, depth: DEPTH, lun: 1 })
  const rounds = times(20)
  const move = async (): Promise<void> => {
    for (let i = 0; i < 3 * rounds; i++) {
      await bed.controller.moveQueue(random.pick(QUEUES), random.pick(bed.iothreads))
    }
  }
  const change = async (): Promise<void> => {
    const [region] = initiator.memory.regions
    const spare = { guestAddress: 2 ** 33, size: 2 ** 21, userAddress: 2 ** 40, mmapOffset: 0 }
    for (let i = 0; i < rounds; i++) {
      await initiator.frontEnd.addMemReg(spare, region!.fd)
      await initiator.stop([VQ.REQUEST + 3])
      await initiator.frontEnd.remMemReg(spare)
      await initiator.start([VQ.REQUEST + 3])
      await initiator.scsi({ cdb: new Uint8Array(6), lun: 1 }, { queue: 3 })
    }
  }
  await Promise.race([Promise.all([move(), change()]), load.failed])
  t.ok((await within(PATIENCE, 'the end of the load', load.stop())) > 0)
  t.same(bed.faults, [])
  t.same(bed.failures, [])
})

t.test('a controller that goes while its queues move', async (t) => {
  const { bed, initiator, session } = await bedWith(t, 2, [0, 1, 0, 1])
  const [io0, io1] = bed.iothreads
  const load = new VerifiedLoad(initiator, { queues: QUEUES, depth: 4, lun: 1 })
  await progress(bed, 20)
  const moves = QUEUES.map((queue) => bed.controller.moveQueue(queue, queue % 2 === 0 ? io1! : io0!))
  const closed = session.close()
  await Promise.all(moves)
  await closed
  load.failed.catch(() => {})
  t.same(
    QUEUES.map((queue) => bed.controller.queue(queue).iothread),
    [io1, io0, io1, io0],
  )
  t.same(bed.failures, [])
})
