import { createEventfd, raw, signalEventfd } from 'memfd-mmap'
import t from 'tap'
import type { Driver } from '../../iothreads/drivers/driver.js'
import { NullDriver } from '../../iothreads/drivers/null.js'
import { BELL, BELL_WORD } from '../../iothreads/messages.js'
import { QUEUE_FIELD } from '../../iothreads/statistics.js'
import { THREAD_FIELD } from '../../iothreads/thread-statistics.js'
import { read10 } from '../support/iothreads/cdb.js'
import { type LoopPolling, LoopRig } from '../support/iothreads/loop-rig.js'
import { QueueRig } from '../support/iothreads/queue-rig.js'
import { unitSpec } from '../support/iothreads/units.js'
import type { Teardown } from '../support/teardown.js'

const ENGINES = ['io_uring', 'epoll'] as const

/** A limit that no wait of these tests comes near. */
const PATIENT = 300e6

const unit = (driver: Driver) => ({ ...unitSpec({ kind: 'null', delayNs: 0 }, { size: 2 ** 30 }), driver })

/** A loop with one queue, and the guest that drives it from the loop's hooks. */
class Guest {
  readonly rig: LoopRig
  readonly queue: QueueRig
  answered = 0
  submitted = 0
  kicked = 0
  readonly #kickFd = createEventfd()

  /** @param delays ns that requests of LUN 0, 1, ... take */
  constructor(
    t: Teardown,
    engine: (typeof ENGINES)[number],
    polling: LoopPolling,
    delays: readonly number[] = [0],
    eventIdx = true,
  ) {
    this.rig = new LoopRig(t, engine, polling)
    const drivers = delays.map(
      (ns) => new NullDriver(ns, (request, result) => this.rig.loop.completed(request.id, result)),
    )
    const units = drivers.map((driver, lun) => ({ ...unit(driver), lun }))
    for (const { delayLine } of drivers) if (delayLine !== null) this.rig.delayLines.push(delayLine)
    this.queue = new QueueRig(t, { units, eventIdx })
    this.rig.loop.add(this.queue.queue, this.#kickFd)
    t.teardown(() => raw.close(this.#kickFd))
  }

  /** Shows the device one request. True: it wants to be notified of it. */
  show(lun = 0): boolean {
    this.submitted++
    this.queue.submit({ cdb: read10(0, 1), dataIn: 512, lun })
    return this.queue.ring.publish()
  }

  kick(): void {
    this.kicked++
    signalEventfd(this.#kickFd)
  }

  /** Takes what was answered. True: nothing is in flight. */
  reap(): boolean {
    for (const { result } of this.queue.answers()) {
      if (result!.status !== 0) throw new Error('failed')
      this.answered++
    }
    return this.answered === this.submitted
  }

  /** Runs the loop until `count` requests in all are answered. */
  until(count: number): void {
    this.rig.runUntil(() => {
      this.reap()
      return this.answered === count
    })
  }

  /** Runs one request that is shown while the loop is busy. Returns how often the loop slept over it. */
  sleepsOver(lun: number): number {
    const { statistics } = this.rig.loop
    const before = statistics.read(THREAD_FIELD.SLEEPS)
    this.show(lun)
    this.until(this.submitted)
    return statistics.read(THREAD_FIELD.SLEEPS) - before
  }
}

for (const engine of ENGINES) {
  for (const eventIdx of [true, false]) {
    const name = `${engine}, ${eventIdx ? 'avail_event' : 'NO_NOTIFY'}`

    t.test(`notifications are asked for before a sleep, not while polling: ${name}`, async (t) => {
      // Polls for ever after two waits.
      const guest = new Guest(t, engine, { pollMaxNs: PATIENT, pollGrow: 1e9 }, [0], eventIdx)
      const { rig, queue } = guest
      const { statistics } = rig.loop
      const wanted = { asleep: [] as boolean[], polling: [] as boolean[], turning: [] as boolean[] }
      rig.onSleep = () => {
        wanted.asleep.push(guest.show())
        guest.kick()
      }
      rig.onDeadline = () => {
        if (statistics.read(THREAD_FIELD.SLEEPS) < 2 || !guest.reap()) return
        wanted.polling.push(guest.show())
      }
      rig.runUntil(() => {
        if (guest.reap() && guest.answered === 30) wanted.turning.push(guest.show())
        return guest.answered === 60
      })
      t.strictSame(wanted.asleep, [true, true])
      t.strictSame(wanted.turning, [false])
      t.equal(wanted.polling.length, 57)
      t.notOk(wanted.polling.includes(true), 'not one of them')
      t.equal(statistics.read(THREAD_FIELD.SLEEPS), 2)
      t.ok(statistics.read(THREAD_FIELD.POLL_HITS) >= 57)
      t.equal(queue.statistics.readQueue(QUEUE_FIELD.KICKS), 2)
    })

    t.test(`what comes between the last look and the sleep is seen: ${name}`, async (t) => {
      const guest = new Guest(t, engine, { pollMaxNs: PATIENT }, [0], eventIdx)
      const { rig, queue } = guest
      const { statistics } = rig.loop
      // Every look is too early.
      queue.queue.hasWork = () => false
      rig.onSleep = () => {
        guest.show()
        guest.kick()
      }
      const wanted: boolean[] = []
      rig.onDeadline = () => {
        if (statistics.read(THREAD_FIELD.POLLS) > wanted.length && guest.reap()) wanted.push(guest.show())
      }
      guest.until(21)
      t.strictSame(wanted, new Array(20).fill(false))
      t.equal(statistics.read(THREAD_FIELD.POLLS), 20)
      t.equal(statistics.read(THREAD_FIELD.POLL_HITS), 0)
      t.equal(statistics.read(THREAD_FIELD.SLEEPS), 1)
      t.equal(guest.kicked, 1)
    })
  }

  t.test(`a limit of 0 is off: ${engine}`, async (t) => {
    const guest = new Guest(t, engine, { pollMaxNs: 0, pollGrow: 8, pollShrink: 1 })
    const { statistics } = guest.rig.loop
    guest.rig.onSleep = () => {
      t.equal(guest.show(), true)
      guest.kick()
    }
    guest.until(20)
    t.equal(statistics.read(THREAD_FIELD.SLEEPS), 20)
    t.equal(statistics.read(THREAD_FIELD.POLLS), 0)
    t.equal(guest.queue.statistics.readQueue(QUEUE_FIELD.KICKS), 20)
  })

  t.test(`poll-grow says how soon a wait is polled through: ${engine}`, async (t) => {
    const sleeps = (pollGrow: number): number => {
      const guest = new Guest(t, engine, { pollMaxNs: PATIENT, pollGrow }, [3e6])
      let sum = 0
      for (let i = 0; i < 20; i++) sum += guest.sleepsOver(0)
      return sum
    }
    t.equal(sleeps(1000), 2, '0, 4 us, 4 ms')
    const doubling = sleeps(0)
    // A delay that the machine makes while it polls can stand for a sleep that would have made it poll for longer.
    t.ok(doubling > 5 && doubling <= 11, `${doubling}`)
  })

  t.test(`poll-shrink says what is left after a wait beyond the limit: ${engine}`, async (t) => {
    for (const [pollShrink, again] of [
      [0, 1],
      [1, 0],
    ] as const) {
      const guest = new Guest(t, engine, { pollMaxNs: PATIENT, pollGrow: 1000, pollShrink }, [1e6, PATIENT + 50e6])
      t.strictSame([guest.sleepsOver(0), guest.sleepsOver(0), guest.sleepsOver(0)], [1, 1, 0])
      t.equal(guest.sleepsOver(1), 1)
      t.equal(guest.sleepsOver(0), again)
    }
  })

  t.test(`a guest is polled for though its disk takes longer than the limit: ${engine}`, async (t) => {
    const guest = new Guest(t, engine, { pollMaxNs: PATIENT }, [PATIENT + 20e6])
    const { rig } = guest
    rig.onSleep = () => {
      if (!guest.reap()) return
      guest.show()
      guest.kick()
    }
    rig.onDeadline = () => {
      if (guest.answered > 0 && guest.reap()) t.equal(guest.show(), false)
    }
    guest.until(4)
    t.equal(guest.kicked, 1)
  })

  t.test(`the bell rings while the loop polls: ${engine}`, async (t) => {
    const guest = new Guest(t, engine, { pollMaxNs: PATIENT, pollGrow: 1e9 })
    const { rig } = guest
    const { statistics } = rig.loop
    rig.onSleep = () => {
      guest.show()
      guest.kick()
    }
    rig.onDeadline = () => {
      if (guest.answered < 2) return
      rig.bell[BELL_WORD.ASKED] = rig.rang + 1
      // The doorbell is for those that sleep.
      rig.bell[BELL_WORD.BELL] = BELL.MESSAGES
    }
    rig.runUntil(() => guest.reap() && rig.rang === 10)
    t.equal(statistics.read(THREAD_FIELD.SLEEPS), 2)
    t.equal(statistics.read(THREAD_FIELD.POLL_HITS), 10)
    t.equal(rig.bell[BELL_WORD.ANSWERED], 10)
  })
}

t.test('a guest that has gone quiet is not polled for again and again', async (t) => {
  const guest = new Guest(t, 'io_uring', { pollMaxNs: PATIENT })
  const { rig } = guest
  const { statistics } = rig.loop
  rig.onSleep = () => {
    if (guest.submitted === 5) return
    guest.show()
    guest.kick()
  }
  guest.until(5)
  t.equal(statistics.read(THREAD_FIELD.POLLS), 4)
  // The longest sleep, a second, and one more.
  rig.runUntil(() => statistics.read(THREAD_FIELD.SLEEPS) === 7)
  t.equal(statistics.read(THREAD_FIELD.POLLS), 5)
})
