import { readFileSync, truncateSync } from 'node:fs'
import type { Test } from 'tap'
import { featureMask, TMF, VHOST_USER_PROTOCOL_F } from 'vhost-user-protocol-ts'
import { eventually, within } from './deadline.js'
import { sparseImage } from './image.js'
import { noted, usedIndexes } from './inflight/noted.js'
import { write10 } from './iothreads/cdb.js'
import { MortalDaemon } from './mortal-daemon.js'
import { Random } from './random.js'
import { Repetition } from './repetition.js'
import { tempDir } from './temp-dir.js'
import { ask } from './unix-http.js'
import { Initiator } from './vhost/initiator.js'
import { QEMU_PROTOCOL_FEATURES } from './vhost/negotiate.js'
import { VerifiedLoad } from './vhost/verified-load.js'

const PATIENCE = 120_000
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
/** Each daemon takes over what another arrangement of threads has left. */
const ARRANGEMENTS = [
  [],
  ['--iothread=id=one'],
  ['--iothread=id=one', '--iothread=id=two'],
  ['--worker-per-virtqueue'],
] as const
/** Without a write cache every write waits for the disk, so more is in flight. */
const CACHES = ['write-cache=on', 'write-cache=off'] as const
const PROTOCOL = QEMU_PROTOCOL_FEATURES | featureMask(VHOST_USER_PROTOCOL_F.INFLIGHT_SHMFD)

function anyArguments(image: string, random: Random): string[] {
  return [`--lun=id=disk,target=0,lun=0,path=${image},${random.pick(CACHES)}`, ...random.pick(ARRANGEMENTS)]
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

/**
 * A guest in whose life everything happens at once, and daemons that come and go: 32 commands in flight on each of 4 queues whose
 * data is checked, commands that get aborted, and events.
 */
export class RecoveryLoad {
  readonly daemon: MortalDaemon
  readonly initiator: Initiator
  readonly load: VerifiedLoad
  readonly random: Random
  readonly #image: string
  readonly #aborts: Repetition
  readonly #growth: Growth
  readonly #growths: Repetition
  readonly #faults: Promise<unknown>
  #events = 0

  private constructor(
    daemon: MortalDaemon,
    initiator: Initiator,
    seed: number,
    random: Random,
    image: string,
    growing: string,
  ) {
    this.daemon = daemon
    this.initiator = initiator
    this.random = random
    this.#image = image
    this.load = new VerifiedLoad(initiator, { queues: QUEUES, depth: DEPTH, seed, attentions: true })
    this.#aborts = new Repetition(() => abortOne(initiator, this.random))
    this.#growth = new Growth(growing, daemon)
    this.#growths = new Repetition(async () => {
      if (await this.#growth.step()) this.#events++
      await this.load.progress(EVENT_INTERVAL)
    })
    this.#faults = Promise.all([this.load.failed, this.#aborts.failed, this.#growths.failed])
    this.#faults.catch(() => {})
  }

  /** Starts a daemon, and the load. */
  static async start(t: Test, seed: number): Promise<RecoveryLoad> {
    const random = new Random(seed)
    const directory = tempDir(t)
    const image = sparseImage(directory, 'disk', 16)
    const growing = sparseImage(directory, 'growing', 1)
    const daemon = new MortalDaemon(t, [`--lun=id=growing,target=1,lun=0,path=${growing}`, '--num-queues=4'])
    await daemon.start(anyArguments(image, random))
    const initiator = await Initiator.connect(daemon.socketPath, {
      queues: QUEUES.length,
      ringSize: RING,
      protocolFeatures: PROTOCOL,
      deadline: PATIENCE,
    })
    t.teardown(() => initiator.close())
    initiator.postEvents(EVENTS)
    t.equal(initiator.events.driver.outstanding, EVENTS)
    return new RecoveryLoad(daemon, initiator, seed, random, image, growing)
  }

  /** What a daemon gets beside what each of them gets: other threads each time, another cache. */
  anyArguments(): string[] {
    return anyArguments(this.#image, this.random)
  }

  /** Settles as `promise` does, or rejects when the guest has seen something wrong. */
  unlessFault<T>(promise: Promise<T>): Promise<T> {
    return Promise.race([promise, this.#faults.then(() => promise)])
  }

  /** Resolves when that many more commands have been answered, or rejects when something was wrong. */
  progress(count: number): Promise<void> {
    return this.unlessFault(within(PATIENCE, 'progress of the load', this.load.progress(count)))
  }

  /** Ends the load and sees that each request has completed once, with the right data, and that no event buffer is lost. */
  async finish(t: Test): Promise<void> {
    const { initiator, load } = this
    await this.progress(1000)
    await within(PATIENCE, 'end of the events', this.#growths.stop())
    await within(PATIENCE, 'end of the aborts', this.#aborts.stop())
    const versions = await within(PATIENCE, 'end of the load', load.stop())
    const requests = load.submitted.reduce((sum, count) => sum + count, 0)
    t.comment(
      `${requests} requests verified, ${versions} versions, ${this.#aborts.count} aborts, ${this.#events} events`,
    )
    t.ok(versions > QUEUES.length * DEPTH, 'all jobs got on')
    for (const queue of initiator.queues) {
      const kept = queue === initiator.events ? EVENTS : 0
      t.equal(queue.driver.outstanding, kept, `ring ${queue.index} has answered everything`)
      t.equal(queue.broken, undefined, 'and nothing twice')
    }
    initiator.keepsEvents = false
    for (let left = initiator.events.driver.outstanding; left > 0; left = initiator.events.driver.outstanding) {
      t.ok(await this.#growth.step(), `an event for one of the ${left} buffers`)
      await eventually(PATIENCE, 'the event', () => (initiator.events.driver.outstanding < left ? true : undefined))
    }
    t.equal(initiator.events.broken, undefined)
    t.equal(noted(initiator), 0, 'nothing is noted as in flight')
    for (const { said, is } of usedIndexes(initiator)) t.equal(said, is, 'the buffer is where the ring is')

    await initiator.close()
    t.same(await this.daemon.stop(), { code: 0, signal: null })
    const disk = readFileSync(this.#image)
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
}
