import t, { type Test } from 'tap'
import { type Heart, type HeartbeatOptions, Heartbeats } from '../../daemon/heartbeats.js'
import type { Log } from '../../daemon/log.js'
import type { IoThread } from '../../iothreads/index.js'
import { startConfigured } from '../support/configured-daemon.js'
import { eventually } from '../support/deadline.js'
import { HeldThread } from '../support/held-thread.js'
import { serve } from '../support/hostile/bed.js'
import { DEADLINE, startThread } from '../support/iothreads/io-rig.js'

t.setTimeout(120_000)

const PREFIX = 'vhost_user_scsi_iothread_'

/** Heartbeats that look when the test has them look, at a time that it sets, and the lines that they log. */
class Bed {
  readonly lines: string[] = []
  readonly heartbeats: Heartbeats
  now = 1000

  constructor(options: HeartbeatOptions = {}) {
    const line = (level: string) => (fields: object, message: string) => {
      this.lines.push(`${level} ${message} ${JSON.stringify(fields)}`)
    }
    const log = { info: line('info'), warn: line('warn') } as unknown as Log
    this.heartbeats = new Heartbeats(log, { now: () => this.now, ...options })
  }

  /** Looks `count` times, each a second after the one before. */
  look(count = 1): void {
    for (let i = 0; i < count; i++) {
      this.now += 1000
      this.heartbeats.look()
    }
  }
}

/** One that answers when the test says so. */
class TestHeart implements Heart {
  readonly id: string
  readonly tid: number
  isWell = true
  asked = 0

  constructor(id: string, tid: number) {
    this.id = id
    this.tid = tid
  }

  ask(): void {
    this.asked++
  }

  get answered(): boolean {
    return this.isWell
  }
}

t.test('those that answer', async (t) => {
  const bed = new Bed()
  const heart = new TestHeart('io0', 11)
  bed.heartbeats.watch(heart)
  t.strictSame(bed.heartbeats.of(heart), { answered: 0, missed: 0, ageSeconds: 0, silent: false })
  bed.look()
  t.equal(heart.asked, 1, 'asked')
  t.equal(bed.heartbeats.of(heart)!.answered, 0, 'an answer to nothing is none')
  bed.look(60)
  t.strictSame(bed.heartbeats.of(heart), { answered: 60, missed: 0, ageSeconds: 0, silent: false })
  t.equal(heart.asked, 61, 'once each time')
  bed.now += 250
  t.equal(bed.heartbeats.of(heart)!.ageSeconds, 0.25)
  t.strictSame(bed.lines, [])
})

t.test('one that is silent is told of once, and once more when it answers', async (t) => {
  const bed = new Bed()
  const [ill, well] = [new TestHeart('io0', 11), new TestHeart('io1', 12)]
  for (const heart of [ill, well]) bed.heartbeats.watch(heart)
  bed.look(3)
  ill.isWell = false
  bed.look(4)
  t.strictSame(bed.heartbeats.silent(), [])
  t.strictSame(bed.lines, [])
  bed.look()
  const fields = (seconds: number) => JSON.stringify({ iothread: 'io0', tid: 11, seconds })
  const first = `warn IOThread io0 (tid 11) has not answered for 5 s ${fields(5)}`
  t.strictSame(bed.lines, [first])
  t.strictSame(bed.heartbeats.silent(), ['io0'])
  bed.look(20)
  t.strictSame(bed.lines, [first])
  t.strictSame(bed.heartbeats.of(ill), { answered: 2, missed: 25, ageSeconds: 25, silent: true })
  t.strictSame(bed.heartbeats.of(well), { answered: 27, missed: 0, ageSeconds: 0, silent: false })
  t.equal(ill.asked, 28, 'it is asked on')
  ill.isWell = true
  bed.look()
  const second = `info IOThread io0 (tid 11) answers again, after 26 s ${fields(26)}`
  t.strictSame(bed.lines, [first, second])
  t.strictSame(bed.heartbeats.silent(), [])
  t.strictSame(bed.heartbeats.of(ill), { answered: 3, missed: 25, ageSeconds: 0, silent: false })
  ill.isWell = false
  bed.look(6)
  t.strictSame(bed.lines, [first, second, first], 'a further time')
})

t.test('one that is late now and then is counted, not told of', async (t) => {
  const bed = new Bed()
  const heart = new TestHeart('io0', 11)
  bed.heartbeats.watch(heart)
  bed.look()
  for (let i = 0; i < 10; i++) {
    heart.isWell = false
    bed.look(4)
    heart.isWell = true
    bed.look()
  }
  t.strictSame(bed.heartbeats.of(heart), { answered: 10, missed: 40, ageSeconds: 0, silent: false })
  t.strictSame(bed.lines, [])
})

t.test('when the process has been stopped for a while, nobody is blamed', async (t) => {
  const bed = new Bed()
  const heart = new TestHeart('io0', 11)
  bed.heartbeats.watch(heart)
  bed.look(2)
  heart.isWell = false
  bed.now += 3_600_000
  bed.look()
  t.strictSame(bed.lines, [])
  t.strictSame(bed.heartbeats.silent(), [])
  heart.isWell = true
  bed.look()
  t.strictSame(bed.lines, [])
})

t.test('how long is too long can be set', async (t) => {
  for (const [options, looks] of [
    [{ intervalMs: 1000, silentAfterMs: 1000 }, 1],
    [{ intervalMs: 1000, silentAfterMs: 2500 }, 3],
    [{ intervalMs: 100, silentAfterMs: 1000 }, 10],
    [{ intervalMs: 1000, silentAfterMs: 0 }, 1],
  ] as const) {
    const bed = new Bed(options)
    const heart = new TestHeart('io0', 11)
    bed.heartbeats.watch(heart)
    bed.look()
    heart.isWell = false
    bed.look(looks - 1)
    t.strictSame(bed.heartbeats.silent(), [])
    bed.look()
    t.strictSame(bed.heartbeats.silent(), ['io0'])
  }
})

t.test('one that is gone is neither asked nor known', async (t) => {
  const bed = new Bed()
  const [gone, other] = [new TestHeart('io0', 11), new TestHeart('io0', 12)]
  bed.heartbeats.watch(gone)
  gone.isWell = false
  bed.look(10)
  bed.heartbeats.forget(gone)
  bed.heartbeats.watch(other)
  t.strictSame(bed.heartbeats.silent(), [])
  t.equal(bed.heartbeats.of(gone), undefined)
  bed.look(2)
  t.equal(gone.asked, 10)
  t.equal(bed.heartbeats.of(other)!.answered, 1, 'one of the same name is another one')
  t.equal(bed.lines.length, 1)
})

t.test('it looks by itself, and keeps no process alive', async (t) => {
  const [bed, other] = [new Bed({ intervalMs: 1 }), new Bed({ intervalMs: 1 })]
  const [heart, otherHeart] = [new TestHeart('io0', 11), new TestHeart('io1', 12)]
  bed.heartbeats.watch(heart)
  other.heartbeats.watch(otherHeart)
  const looks = (of: TestHeart) => {
    const end = of.asked + 5
    return eventually(DEADLINE, 'looks', () => (of.asked >= end ? true : undefined))
  }
  const timers = () => process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length
  const before = timers()
  bed.heartbeats.start()
  bed.heartbeats.start()
  t.equal(timers(), before)
  await looks(heart)
  bed.heartbeats.stop()
  const { asked } = heart
  other.heartbeats.start()
  await looks(otherHeart)
  other.heartbeats.stop()
  t.equal(heart.asked, asked)
})

/** Waits until a thread that runs has answered. */
const answered = (thread: IoThread) => eventually(DEADLINE, 'an answer', () => (thread.answered ? true : undefined))

for (const engine of ['io_uring', 'epoll'] as const) {
  t.test(`an IOThread that stands still: ${engine}`, async (t: Test) => {
    const bed = new Bed({ silentAfterMs: 3000 })
    const threads = [await startThread(t, { id: 'io0', engine }), await startThread(t, { id: 'io1', engine })]
    const [ill, well] = threads.map(({ thread }) => thread) as [IoThread, IoThread]
    for (const thread of [ill, well]) bed.heartbeats.watch(thread)
    const look = async (count: number, waitFor: readonly IoThread[]): Promise<void> => {
      for (let i = 0; i < count; i++) {
        bed.look()
        for (const thread of waitFor) await answered(thread)
      }
    }
    await look(3, [ill, well])
    const held = await HeldThread.hold(t, ill.tid)
    await look(5, [well])
    t.strictSame(bed.heartbeats.silent(), ['io0'])
    t.match(bed.lines, [`warn IOThread io0 (tid ${ill.tid}) has not answered for 3 s`])
    t.match(bed.heartbeats.of(ill), { answered: 3, missed: 4, silent: true })
    t.match(bed.heartbeats.of(well), { answered: 7, missed: 0, silent: false })
    await held.release()
    await answered(ill)
    await look(1, [ill, well])
    t.strictSame(bed.heartbeats.silent(), [])
    t.match(bed.lines[1], /^info IOThread io0 \(tid \d+\) answers again, after 5 s/)
    t.equal(bed.lines.length, 2)
    t.match(bed.heartbeats.of(ill), { answered: 4, missed: 4, ageSeconds: 0, silent: false })
  })
}

t.test('a daemon one of whose IOThreads stands still says so, and serves on the other', async (t) => {
  const disk = (id: string) => ({ id, driver: 'memory', size: '4M' })
  const controller = (i: number) => ({ iothread: `io${i}`, luns: [{ id: `disk${i}`, target: 0, lun: 0 }] })
  const [first, second] = await startConfigured(t, {
    iothreads: [{ id: 'io0' }, { id: 'io1' }],
    luns: [disk('disk0'), disk('disk1')],
    controllers: [
      { id: 'vm0', ...controller(0) },
      { id: 'vm1', ...controller(1) },
    ],
  })
  const daemon = first!
  let text = ''
  daemon.child.process.stderr?.on('data', (part: string) => {
    text += part
  })
  const lines = () =>
    text
      .split('\n')
      .filter((line) => line.includes('IOThread'))
      .map((line) => JSON.parse(line) as { level: number; msg: string; iothread: string; tid: number })
  t.strictSame(await daemon.probe('/healthz'), { status: 200, body: 'ok\n' })
  const before = await daemon.metrics()
  const info = before.select(`${PREFIX}info`, { iothread: 'io0' })
  const tid = Number(info[0]!.labels.tid)
  const held = await HeldThread.hold(t, tid)
  const probed = (status: number) =>
    eventually(DEADLINE, `status ${status}`, async () => {
      const answer = await daemon.probe('/healthz')
      return answer.status === status ? answer : undefined
    })
  t.equal((await probed(503)).body, 'IOThreads that do not answer: io0\n')
  const during = await daemon.metrics()
  t.ok(during.sum(`${PREFIX}heartbeats_missed_total`, { iothread: 'io0' }) >= 5)
  t.ok(during.sum(`${PREFIX}heartbeat_age_seconds`, { iothread: 'io0' }) >= 4)
  t.ok(during.sum(`${PREFIX}heartbeats_missed_total`, { iothread: 'io1' }) < 5)
  t.ok(during.sum(`${PREFIX}heartbeats_total`, { iothread: 'io1' }) >= 4)
  await serve(second!.socketPath)
  t.match(lines(), [{ level: 40, iothread: 'io0', tid, msg: `IOThread io0 (tid ${tid}) has not answered for 5 s` }])
  await held.release()
  t.equal((await probed(200)).body, 'ok\n')
  await eventually(DEADLINE, 'the second line', () => (lines().length === 2 ? true : undefined))
  t.match(lines()[1], { level: 30, iothread: 'io0', msg: /answers again, after \d+ s$/ })
  await serve(daemon.socketPath)
  t.match(await daemon.stop(), { code: 0 })
})
