// kill -9 at any moment, and what a guest sees of it: nothing but a pause and a unit attention.
import { readFileSync, truncateSync } from 'node:fs'
import { viewMemory } from 'memfd-mmap'
import t, { type Test } from 'tap'
import {
  featureMask,
  InflightRegion,
  PACKED_REGION,
  PACKED_STATE,
  SPLIT_REGION,
  SPLIT_STATE,
  TMF,
  VHOST_USER_PROTOCOL_F,
} from 'vhost-user-protocol-ts'
import { eventually, reported, within } from '../support/deadline.js'
import { sparseImage } from '../support/image.js'
import { write10 } from '../support/iothreads/cdb.js'
import { times } from '../support/long.js'
import { MortalDaemon } from '../support/mortal-daemon.js'
import { Random } from '../support/random.js'
import { tempDir } from '../support/temp-dir.js'
import { ask } from '../support/unix-http.js'
import { Initiator } from '../support/vhost/initiator.js'
import { QEMU_PROTOCOL_FEATURES } from '../support/vhost/negotiate.js'
import { VerifiedLoad } from '../support/vhost/verified-load.js'

const PATIENCE = 120_000
const KILLS = times(10)
const QUEUES = [0, 1, 2, 3]
const DEPTH = 32
/** Any of the queues may get all reads, of three descriptors each. */
const RING = 512
const MIB = 2 ** 20
const BLOCK = 512
/** Blocks of each job of the load. */
const BLOCKS = 8
/** Where the writes go that are aborted: behind the load's. */
const ABORTED_BLOCK = QUEUES.length * DEPTH * BLOCKS
const EVENTS = 8
/** Commands of the load between two events. */
const EVENT_INTERVAL = 50
const PROTOCOL = QEMU_PROTOCOL_FEATURES | featureMask(VHOST_USER_PROTOCOL_F.INFLIGHT_SHMFD)

t.setTimeout(KILLS * 30_000 + 120_000)

/** Does something again and again until it is told to stop; `failed` rejects when that goes wrong. */
class Repetition {
  count = 0
  readonly #done: Promise<void>
  #stopping = false

  constructor(step: () => Promise<void>) {
    this.#done = this.#run(step)
    this.#done.catch(() => {})
  }

  async #run(step: () => Promise<void>): Promise<void> {
    while (!this.#stopping) {
      await step()
      this.count++
    }
  }

  get failed(): Promise<void> {
    return this.#done
  }

  async stop(): Promise<void> {
    this.#stopping = true
    await this.#done
  }
}

/** Puts a write into a ring, has it aborted at once, and sees whether it was answered before the function was. */
async function abortOne(initiator: Initiator, random: Random): Promise<void> {
  const queue = random.pick(QUEUES)
  const command = { cdb: write10(ABORTED_BLOCK, BLOCKS), dataOut: new Uint8Array(BLOCKS * BLOCK) }
  const { tag, done } = initiator.submit(command, { queue })
  let answered = false
  void done.then(() => {
    answered = true
  })
  await initiator.tmf(TMF.ABORT_TASK, 0, 0, tag)
  initiator.request(queue).collect()
  // The promise of what has just been collected.
  await Promise.resolve()
  await Promise.resolve()
  await Promise.resolve()
  if (!answered) throw new Error(`an aborted command on queue ${queue} is not answered when the function is`)
}

/** Has the second LUN grow, which makes an event; that nobody may be there does not matter. */
class Growth {
  #bytes = MIB
  readonly #path: string
  readonly #daemon: MortalDaemon

  constructor(path: string, daemon: MortalDaemon) {
    this.#path = path
    this.#daemon = daemon
  }

  async step(): Promise<boolean> {
    this.#bytes += BLOCK
    truncateSync(this.#path, this.#bytes)
    const answer = await ask(this.#daemon.controlPath, 'POST', '/v1/luns/growing/refresh').catch(() => undefined)
    return answer?.status === 200
  }
}

/** What is left of requests in the inflight buffer, of all rings. */
function noted(initiator: Initiator): number {
  const { fd, size, offset, queues, queueSize } = initiator.inflight!
  const region = new InflightRegion(fd, { mmapSize: size, mmapOffset: offset, numQueues: queues, queueSize }, queues)
  let count = 0
  for (const { index, driver } of initiator.queues) {
    const { packed, size: entries } = driver
    const { address, length } = region.queue(packed ? 'packed' : 'split', index, entries)!
    const view = new DataView(viewMemory(address, length))
    if (view.getUint16(SPLIT_REGION.VERSION, true) !== 1) throw new Error(`ring ${index} has no region`)
    const [first, stride, flag] = packed
      ? [PACKED_REGION.DESC, PACKED_STATE.SIZE, PACKED_STATE.INFLIGHT]
      : [SPLIT_REGION.DESC, SPLIT_STATE.SIZE, SPLIT_STATE.INFLIGHT]
    for (let i = 0; i < queueSize; i++) count += view.getUint8(first + stride * i + flag)
    if (driver.packed) continue
    const usedIdx = view.getUint16(SPLIT_REGION.USED_IDX, true)
    if (usedIdx !== driver.deviceUsedIndex) throw new Error(`ring ${index} is said to be at ${usedIdx}`)
  }
  region.unmap()
  return count
}

async function killedAgainAndAgain(t: Test, seed: number, args: readonly string[]): Promise<void> {
  const random = new Random(seed)
  const directory = tempDir(t)
  const image = sparseImage(directory, 'disk', 16)
  const growing = sparseImage(directory, 'growing', 1)
  const daemon = new MortalDaemon(t, [
    `--lun=id=disk,path=${image}`,
    `--lun=id=growing,path=${growing}`,
    '--num-queues=4',
    ...args,
  ])
  await daemon.start()
  const initiator = await Initiator.connect(daemon.socketPath, {
    queues: QUEUES.length,
    ringSize: RING,
    protocolFeatures: PROTOCOL,
    deadline: PATIENCE,
  })
  t.teardown(() => initiator.close())
  initiator.postEvents(EVENTS)
  const load = new VerifiedLoad(initiator, { queues: QUEUES, depth: DEPTH, seed, attentions: true })
  const aborts = new Repetition(() => abortOne(initiator, random))
  const growth = new Growth(growing, daemon)
  let events = 0
  const growths = new Repetition(async () => {
    if (await growth.step()) events++
    await load.progress(EVENT_INTERVAL)
  })
  t.equal(initiator.events.driver.outstanding, EVENTS)
  const faults = Promise.all([load.failed, aborts.failed, growths.failed])
  faults.catch(() => {})
  const unlessFault = <T>(promise: Promise<T>): Promise<T> => Promise.race([promise, faults.then(() => promise)])

  let early = 0
  for (let kills = 0; kills < KILLS; kills++) {
    await unlessFault(within(PATIENCE, 'progress of the load', load.progress(1 + random.below(3000))))
    for (let up = false; !up; ) {
      await daemon.kill()
      await daemon.start()
      const connected = initiator.reconnect(daemon.socketPath).then(() => true)
      if (random.once(4)) {
        // Amid the set-up, or what was in flight.
        early++
        const ended = connected.catch(() => false)
        for (let turns = random.below(60); turns > 0; turns--) await new Promise((resolve) => setImmediate(resolve))
        await daemon.kill()
        await ended
      } else {
        up = await unlessFault(reported(connected, () => daemon.report()))
      }
    }
  }
  await unlessFault(within(PATIENCE, 'progress of the load', load.progress(1000)))
  await within(PATIENCE, 'end of the events', growths.stop())
  await within(PATIENCE, 'end of the aborts', aborts.stop())
  const versions = await within(PATIENCE, 'end of the load', load.stop())
  t.ok(versions > KILLS, `${versions} versions written and read, ${aborts.count} aborts, ${events} events`)
  t.comment(`${KILLS + early} kills, ${early} of them amid a recovery`)

  for (const queue of [initiator.control, ...QUEUES.map((i) => initiator.request(i))]) {
    t.equal(queue.driver.outstanding, 0, `ring ${queue.index} has answered everything`)
    t.equal(queue.broken, undefined)
  }
  initiator.keepsEvents = false
  for (let left = initiator.events.driver.outstanding; left > 0; left = initiator.events.driver.outstanding) {
    t.ok(await growth.step(), `an event for one of the ${left} buffers`)
    await eventually(PATIENCE, 'the event', () => (initiator.events.driver.outstanding < left ? true : undefined))
  }
  t.equal(noted(initiator), 0, 'nothing is noted as in flight')

  await initiator.close()
  t.same(await daemon.stop(), { code: 0, signal: null })
  const disk = readFileSync(image)
  const wrong = load.versions.filter(
    (version, job) =>
      version > 0 &&
      Buffer.compare(
        disk.subarray(job * BLOCKS * BLOCK, (job + 1) * BLOCKS * BLOCK),
        VerifiedLoad.pattern(job, version),
      ),
  )
  t.equal(wrong.length, 0, 'the image has what was written last')
}

t.test('a daemon killed at random moments', (t) => killedAgainAndAgain(t, 1, []))
