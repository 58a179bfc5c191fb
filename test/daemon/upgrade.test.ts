// Daemons that take over from each other under load, and what a guest sees of it: nothing but a pause and a unit attention.
import { readdirSync } from 'node:fs'
import { dirname } from 'node:path'
import t from 'tap'
import { featureMask, VHOST_USER_PROTOCOL_F } from 'vhost-user-protocol-ts'
import { eventually, reported, within } from '../support/deadline.js'
import { noted } from '../support/inflight/noted.js'
import { read10 } from '../support/iothreads/cdb.js'
import { Killer } from '../support/killer.js'
import { times } from '../support/long.js'
import { MortalDaemon } from '../support/mortal-daemon.js'
import { RecoveryLoad } from '../support/recovery-load.js'
import { Initiator } from '../support/vhost/initiator.js'
import { QEMU_PROTOCOL_FEATURES } from '../support/vhost/negotiate.js'
import { Reconnection } from '../support/vhost/reconnection.js'

const PATIENCE = 120_000
const TAKEOVERS = times(5)
const KILLS = times(2)
const EXITS_WELL = { code: 0, signal: null }
const KILLED = { code: null, signal: 'SIGKILL' }
/** Longest time from the new daemon's first words to a kill, ms: it has taken over before that, or long not. */
const MOMENT = 300

t.setTimeout((TAKEOVERS + 2 * KILLS) * 30_000 + 240_000)

/** Median and greatest of some times, for people. */
function summary(times: readonly number[]): string {
  const sorted = [...times].sort((a, b) => a - b)
  return `median ${sorted[sorted.length >> 1]?.toFixed(0)} ms, longest ${sorted.at(-1)?.toFixed(0)} ms`
}

t.test('daemons that take over from each other', async (t) => {
  const guest = await RecoveryLoad.start(t, 1)
  const { daemon, load, random } = guest
  const reconnection = new Reconnection(guest.initiator, daemon.socketPath)
  const pauses: number[] = []
  for (let i = 0; i < TAKEOVERS; i++) {
    await guest.progress(1 + random.below(3000))
    load.takeLongestPause()
    const { old, fresh } = daemon.takeOver(guest.anyArguments())
    await guest.unlessFault(daemon.ready(fresh))
    t.same(await old.ended(PATIENCE), EXITS_WELL, 'the old one has nothing to complain of')
    await reported(guest.progress(1000), () => fresh.report())
    pauses.push(load.takeLongestPause())
    await reconnection.reached(i + 1)
    t.equal(reconnection.count, i + 1, 'one new connection')
    t.strictSame(readdirSync(dirname(daemon.socketPath)).sort(), ['control.sock', 'scsi.sock'])
  }
  t.comment(`${TAKEOVERS} takeovers; pauses of the guest: ${summary(pauses)}`)
  reconnection.stop()
  await guest.finish(t)
  t.strictSame(readdirSync(dirname(daemon.socketPath)), [], 'nothing is left behind')
})

for (const victim of ['old', 'fresh'] as const) {
  t.test(`a takeover in which the ${victim} one is killed`, async (t) => {
    const guest = await RecoveryLoad.start(t, victim === 'old' ? 2 : 3)
    const { daemon, random } = guest
    const killer = new Killer(t)
    const reconnection = new Reconnection(guest.initiator, daemon.socketPath)
    let served = 0
    for (let i = 0; i < KILLS; i++) {
      await guest.progress(1 + random.below(3000))
      const { old, fresh } = daemon.takeOver(guest.anyArguments())
      await fresh.output('stderr', /taking over from/, PATIENCE)
      const dying = victim === 'old' ? old : fresh
      await killer.kill(dying.pid, random.below(MOMENT * 1000) / 1000)
      const exit = await dying.ended(PATIENCE)
      if (victim === 'old') {
        // It may have left before.
        t.ok(exit.signal === 'SIGKILL' || exit.code === 0)
        await guest.unlessFault(daemon.ready(fresh))
      } else {
        t.same(exit, KILLED)
        // Either the old one goes on, or it has been asked to leave and does.
        const next = daemon.takeOver(guest.anyArguments())
        await guest.unlessFault(daemon.ready(next.fresh))
        t.same(await old.ended(PATIENCE), EXITS_WELL)
      }
      served = reconnection.count
      await guest.progress(1000)
    }
    t.ok(served > 0)
    reconnection.stop()
    await guest.finish(t)
    t.strictSame(readdirSync(dirname(daemon.socketPath)), [], 'nothing is left behind')
  })
}

t.test('what does not end in time is left to the next one', async (t) => {
  const daemon = new MortalDaemon(t, ['--num-queues=1', '--stop-timeout=0.1'])
  await daemon.start(['--lun=driver=null,delay-us=60000000'])
  const initiator = await Initiator.connect(daemon.socketPath, {
    protocolFeatures: QEMU_PROTOCOL_FEATURES | featureMask(VHOST_USER_PROTOCOL_F.INFLIGHT_SHMFD),
    deadline: PATIENCE,
  })
  t.teardown(() => initiator.close())
  const reconnection = new Reconnection(initiator, daemon.socketPath)
  await initiator.ready(0, 0)
  const commands = Array.from({ length: 4 }, () => initiator.submit({ cdb: read10(0, 1), dataIn: 512 }))
  await eventually(PATIENCE, 'the requests in flight', () => (noted(initiator) === 4 ? true : undefined))
  const { old, fresh } = daemon.takeOver(['--lun=driver=null'])
  await daemon.ready(fresh)
  t.same(await old.ended(PATIENCE), EXITS_WELL)
  t.match(old.stderr, /WARN: I\/O is still in flight after 0.1 s: leaving it/)
  t.match(fresh.stderr, /WARN: the daemon before has left with I\/O in flight/)
  for (const { done } of commands) t.match(await within(PATIENCE, 'the answer', done), { response: 0 })
  t.equal(initiator.request(0).driver.outstanding, 0)
  t.equal(noted(initiator), 0)
  await reconnection.reached(1)
  reconnection.stop()
  await initiator.close()
  t.same(await daemon.stop(), EXITS_WELL)
})
