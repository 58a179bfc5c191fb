// kill -9 at any moment, and what a guest sees of it: nothing but a pause and a unit attention.
import { readFileSync, truncateSync } from 'node:fs'
import t, { type Test } from 'tap'
import { featureMask, TMF, VHOST_USER_PROTOCOL_F } from 'vhost-user-protocol-ts'
import { eventually, reported, within } from '../support/deadline.js'
import { sparseImage } from '../support/image.js'
import { noted, usedIndexes } from '../support/inflight/noted.js'
import { write10 } from '../support/iothreads/cdb.js'
import { Killer } from '../support/killer.js'
import { times } from '../support/long.js'
import { MortalDaemon } from '../support/mortal-daemon.js'
import { Random } from '../support/random.js'
import { Repetition } from '../support/repetition.js'
import { tempDir } from '../support/temp-dir.js'
import { ask } from '../support/unix-http.js'
import { Initiator } from '../support/vhost/initiator.js'
import { QEMU_PROTOCOL_FEATURES } from '../support/vhost/negotiate.js'
import { VerifiedLoad } from '../support/vhost/verified-load.js'

const PATIENCE = 120_000
const KILLS = process.env.VUS_LONG === undefined ? 10 : times(25)
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
/** Most commands of the load between two kills. */
const PROGRESS = 500
/** Commands of the load between two events. */
const EVENT_INTERVAL = 50
/** Longest time that a daemon is left alone after the progress that it is killed for, ms. */
const MOMENT = 20
/** The same for one that is being connected to. */
const SETTING_UP = 40
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

t.setTimeout(KILLS * 30_000 + 120_000)

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

async function killedAgainAndAgain(t: Test, seed: number): Promise<void> {
  const random = new Random(seed)
  const directory = tempDir(t)
  const image = sparseImage(directory, 'disk', 16)
  const growing = sparseImage(directory, 'growing', 1)
  const daemon = new MortalDaemon(t, [`--lun=id=growing,target=1,lun=0,path=${growing}`, '--num-queues=4'])
  const killer = new Killer(t)
  const start = () =>
    daemon.start([`--lun=id=disk,target=0,lun=0,path=${image},${random.pick(CACHES)}`, ...random.pick(ARRANGEMENTS)])
  await start()
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

  let kills = 0
  let early = 0
  let inFlight = 0
  /** Amid whatever the threads of the daemon, and this one, are doing. */
  const kill = async (longest: number): Promise<void> => {
    await killer.kill(daemon.pid, random.below(longest * 1000) / 1000)
    await daemon.kill()
    if (++kills % 100 === 0) t.comment(`${kills} kills`)
    inFlight += noted(initiator)
  }
  while (kills < KILLS) {
    await unlessFault(within(PATIENCE, 'progress of the load', load.progress(1 + random.below(PROGRESS))))
    await kill(MOMENT)
    for (let up = false; !up; ) {
      await start()
      const connected = initiator.reconnect(daemon.socketPath).then(() => true)
      if (random.once(3)) {
        // Amid the set-up, or what was in flight.
        early++
        const ended = connected.catch(() => false)
        await kill(SETTING_UP)
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
  t.comment(`${kills} kills, ${early} of them amid a recovery; ${inFlight} requests were in flight at one`)
  t.comment(`${load.submitted.reduce((sum, count) => sum + count, 0)} requests verified`)
  t.ok(inFlight > KILLS, 'there was something to recover')

  for (const queue of initiator.queues) {
    const kept = queue === initiator.events ? EVENTS : 0
    t.equal(queue.driver.outstanding, kept, `ring ${queue.index} has answered everything`)
    t.equal(queue.broken, undefined, 'and nothing twice')
  }
  initiator.keepsEvents = false
  for (let left = initiator.events.driver.outstanding; left > 0; left = initiator.events.driver.outstanding) {
    t.ok(await growth.step(), `an event for one of the ${left} buffers`)
    await eventually(PATIENCE, 'the event', () => (initiator.events.driver.outstanding < left ? true : undefined))
  }
  t.equal(initiator.events.broken, undefined)
  t.equal(noted(initiator), 0, 'nothing is noted as in flight')
  for (const { said, is } of usedIndexes(initiator)) t.equal(said, is, 'the buffer is where the ring is')

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

t.test('a daemon killed at random moments', (t) => killedAgainAndAgain(t, 1))
