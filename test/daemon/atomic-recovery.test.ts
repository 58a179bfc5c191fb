// kill -9 amid COMPARE AND WRITE: what was in flight is not done a second time, and the initiator hears that it has to look.
import t from 'tap'
import { featureMask, VHOST_USER_PROTOCOL_F } from 'vhost-user-protocol-ts'
import { AtomicGuest, BLOCK, countersOf, senseOf } from '../support/atomic-guests.js'
import { sparseImage } from '../support/image.js'
import { Killer } from '../support/killer.js'
import { times } from '../support/long.js'
import { MortalDaemon } from '../support/mortal-daemon.js'
import { Random } from '../support/random.js'
import { tempDir } from '../support/temp-dir.js'
import { Initiator } from '../support/vhost/initiator.js'
import { QEMU_PROTOCOL_FEATURES } from '../support/vhost/negotiate.js'

const PATIENCE = 120_000
const QUEUES = 4
const CLIENTS = 16 * QUEUES
const LBA = 8
const KILLS = times(3)
/** As many kills as it takes to abort something, but no more than this. */
const MOST_KILLS = times(20)
/** Increments between two kills, at most. */
const PROGRESS = 60
const MOMENT = 2
const PROTOCOL = QEMU_PROTOCOL_FEATURES | featureMask(VHOST_USER_PROTOCOL_F.INFLIGHT_SHMFD)
/** COMMANDS CLEARED BY DEVICE SERVER, and the key of unit attentions. */
const CLEARED = '11,47,2'
const ATTENTION = 0x06

t.setTimeout(MOST_KILLS * 30_000)

/** What one client knows: its counter, the one at 1 + own, is `value`; each increment was answered, or is looked after. */
class Client {
  value = 0
  aborted = 0
  happened = 0
  readonly #guest: AtomicGuest
  readonly #own: number

  constructor(guest: AtomicGuest, own: number) {
    this.#guest = guest
    this.#own = own
  }

  /** The block, whatever unit attentions there are. */
  async read(): Promise<Uint8Array> {
    for (;;) {
      try {
        return await this.#guest.read(LBA)
      } catch (error) {
        // Nothing but a unit attention of a daemon that has just begun.
        if (!/"status":2/.test((error as Error).message)) throw error
      }
    }
  }

  /** One increment, or what became of it. */
  async step(): Promise<void> {
    const before = await this.read()
    const after = before.slice()
    const counters = new Uint32Array(after.buffer, after.byteOffset, BLOCK / 4)
    if (counters[1 + this.#own] !== this.value) throw new Error(`client ${this.#own}: ${counters[1 + this.#own]}`)
    counters[0]!++
    counters[1 + this.#own]!++
    const result = await this.#guest.compareAndWrite(LBA, before, after)
    if (result.response !== 0) throw new Error(`response ${result.response}`)
    if (result.status === 0) {
      this.value++
      return
    }
    const sense = senseOf(result)
    if (sense.join() === CLEARED) {
      this.aborted++
      const now = countersOf(await this.read())[1 + this.#own]!
      if (now !== this.value && now !== this.value + 1) throw new Error(`${now} after an increment of ${this.value}`)
      if (now !== this.value) this.happened++
      this.value = now
    } else if (sense[0] !== 0x0e && sense[0] !== ATTENTION) throw new Error(`sense ${sense}`)
  }
}

t.test('what was answered has happened, once; what was aborted may have, once', async (t) => {
  const random = new Random(5)
  const daemon = new MortalDaemon(t, [
    `--lun=id=disk,path=${sparseImage(tempDir(t), 'disk', 16)}`,
    `--num-queues=${QUEUES}`,
    '--iothread=id=one',
    '--iothread=id=two',
  ])
  const killer = new Killer(t)
  await daemon.start()
  const initiator = await Initiator.connect(daemon.socketPath, {
    queues: QUEUES,
    protocolFeatures: PROTOCOL,
    deadline: PATIENCE,
  })
  t.teardown(() => initiator.close())
  await initiator.ready(0, 0)
  const clients = Array.from({ length: CLIENTS }, (_, i) => new Client(new AtomicGuest(initiator, i % QUEUES), i))
  const sum = (of: 'value' | 'aborted' | 'happened'): number => clients.reduce((total, each) => total + each[of], 0)
  let stop = false
  let wake: () => void = () => {}
  let until = Number.POSITIVE_INFINITY
  const running = Promise.all(
    clients.map(async (client) => {
      while (!stop) {
        await client.step()
        if (sum('value') >= until) wake()
      }
    }),
  )
  running.catch(() => {})
  let kills = 0
  while (kills < KILLS || (sum('aborted') === 0 && kills < MOST_KILLS)) {
    until = sum('value') + 1 + random.below(PROGRESS)
    const progress = new Promise<void>((resolve) => {
      wake = resolve
    })
    await Promise.race([progress, running])
    await killer.kill(daemon.pid, random.below(MOMENT * 1000) / 1000)
    await daemon.kill()
    kills++
    await daemon.start()
    await initiator.reconnect(daemon.socketPath)
  }
  stop = true
  await running
  const counters = countersOf(await clients[0]!.read())
  t.equal(counters[0], sum('value'))
  t.same(
    [...counters.subarray(1, 1 + CLIENTS)],
    clients.map(({ value }) => value),
  )
  t.ok(sum('aborted') > 0, `${sum('aborted')} aborted by ${kills} kills`)
  t.comment(
    `${kills} kills, ${sum('value')} increments, ${sum('aborted')} aborted, ${sum('happened')} of those had happened`,
  )
})
