// kill -9 at any moment, and what a guest sees of it: nothing but a pause and a unit attention.
import t, { type Test } from 'tap'
import { reported } from '../support/deadline.js'
import { noted } from '../support/inflight/noted.js'
import { Killer } from '../support/killer.js'
import { times } from '../support/long.js'
import { RecoveryLoad } from '../support/recovery-load.js'

const KILLS = process.env.VUS_LONG === undefined ? 10 : times(25)
/** Most commands of the load between two kills. */
const PROGRESS = 500
/** Longest time that a daemon is left alone after the progress that it is killed for, ms. */
const MOMENT = 20
/** The same for one that is being connected to. */
const SETTING_UP = 40

t.setTimeout(KILLS * 30_000 + 120_000)

async function killedAgainAndAgain(t: Test, seed: number): Promise<void> {
  const guest = await RecoveryLoad.start(t, seed)
  const { daemon, initiator, random } = guest
  const killer = new Killer(t)
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
    await guest.progress(1 + random.below(PROGRESS))
    await kill(MOMENT)
    for (let up = false; !up; ) {
      await daemon.start(guest.anyArguments())
      const connected = initiator.reconnect(daemon.socketPath).then(() => true)
      if (random.once(3)) {
        // Amid the set-up, or what was in flight.
        early++
        const ended = connected.catch(() => false)
        await kill(SETTING_UP)
        await ended
      } else {
        up = await guest.unlessFault(reported(connected, () => daemon.report()))
      }
    }
  }
  await guest.finish(t)
  t.comment(`${kills} kills, ${early} of them amid a recovery; ${inFlight} requests were in flight at one`)
  t.ok(inFlight > KILLS, 'there was something to recover')
}

t.test('a daemon killed at random moments', (t) => killedAgainAndAgain(t, 1))
