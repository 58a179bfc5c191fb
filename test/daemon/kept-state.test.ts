// --state-dir: what a daemon that is killed, or stopped, leaves to the next one.
import { execFile } from 'node:child_process'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import t, { type Test } from 'tap'
import { startConfigured } from '../support/configured-daemon.js'
import type { Daemon } from '../support/daemon.js'
import { sparseImage } from '../support/image.js'
import { ReservingGuest } from '../support/reserving-guests.js'
import { tempDir } from '../support/temp-dir.js'

t.setTimeout(600_000)

const MAIN = fileURLToPath(new URL('../../daemon/main.js', import.meta.url))
const run = promisify(execFile)
const WWN = '0x3000000000000001'
const CONFLICT = 0x18
const NOTHING = [CONFLICT, CONFLICT, CONFLICT, CONFLICT]
const ALL = [0, 0, 0, 0]
const POWER_ON = [0x29, 0]

function setting(t: Test, lun?: object) {
  const directory = tempDir(t)
  const stateDir = join(directory, 'state')
  const image = { path: sparseImage(directory, 'disk.img', 1) }
  const config = {
    'state-dir': stateDir,
    luns: [{ id: 'disk', wwn: WWN, 'share-rw': 'on', ...(lun ?? image) }],
    iothreads: [{ id: 'io0' }],
    controllers: ['a', 'b'].map((id) => ({ id, 'num-queues': 2, luns: [{ id: 'disk', target: 0, lun: 0 }] })),
  }
  const file = join(stateDir, 'lun-3000000000000001.json')
  /** What a daemon says on stderr that does not start. */
  const refusal = async (): Promise<string> => {
    const own = [`--lun=driver=memory,wwn=${WWN}`, `--socket-path=${join(directory, 'x.sock')}`]
    const ended = run(process.execPath, [MAIN, ...own, `--state-dir=${stateDir}`], { timeout: 120_000 })
    const { code, stderr } = await ended.then(
      () => ({ code: 0, stderr: '' }),
      (error: { code: number; stderr: string }) => error,
    )
    t.equal(code, 2, 'exit status')
    return stderr
  }
  return { stateDir, file, start: () => startConfigured(t, config), refusal }
}

interface Guests {
  readonly a: ReservingGuest
  readonly b: ReservingGuest
}

async function guests(t: Test, daemons: readonly Daemon[]): Promise<Guests> {
  const connect = (i: number) => ReservingGuest.connect(t, daemons[i]!)
  return { a: await connect(0), b: await connect(1) }
}

/** Both go on with the next daemon, as guests that run do. */
async function goOn({ a, b }: Guests, daemons: readonly Daemon[]): Promise<void> {
  await a.initiator.reconnect(daemons[0]!.socketPath)
  await b.initiator.reconnect(daemons[1]!.socketPath)
}

async function end([daemon]: readonly Daemon[], signal: 'SIGKILL' | 'SIGTERM'): Promise<void> {
  daemon!.child.process.kill(signal)
  await daemon!.child.ended(60_000)
}

/** As if the host had been started anew meanwhile. */
function reboot(file: string): void {
  const state = JSON.parse(readFileSync(file, 'utf8'))
  writeFileSync(file, JSON.stringify({ ...state, bootId: 'another' }))
}

const modeSense = ({ initiator }: ReservingGuest) =>
  initiator.scsi({ cdb: [0x1a, 8, 0x0a, 0, 64, 0], target: 0, lun: 0, dataIn: 64 })

/** What TEST UNIT READY tells, in descriptor format: key, ASC and ASCQ; undefined: nothing. */
async function told({ initiator }: ReservingGuest): Promise<number[] | undefined> {
  const { status, sense } = await initiator.scsi({ cdb: [0, 0, 0, 0, 0, 0], target: 0, lun: 0 })
  return status === 0 ? undefined : [...sense.subarray(1, 4)]
}

t.test('in the same boot all comes back', async (t) => {
  const { stateDir, file, start, refusal } = setting(t)
  const first = await start()
  const both = await guests(t, first)
  const { a, b } = both
  t.equal((await a.in(2))[2]! & 1, 1, 'PTPL_C')
  await a.out('REGISTER', { actionKey: 1 })
  await b.out('REGISTER', { actionKey: 2 })
  t.equal(await a.out('RESERVE', { key: 1 }, 3), 0)
  // D_SENSE, of the control mode page
  const dataOut = new Uint8Array(16)
  dataOut.set((await modeSense(a)).data.subarray(4, 16), 4)
  dataOut[4 + 2]! |= 0x04
  const selected = await a.initiator.scsi({ cdb: [0x15, 0x10, 0, 0, 16, 0], target: 0, lun: 0, dataOut })
  t.equal(selected.status, 0)
  t.equal(JSON.parse(readFileSync(file, 'utf8')).reservations.persistent.type, 3)
  await end(first, 'SIGKILL')

  const second = await start()
  await goOn(both, second)
  t.same([await a.access(), await b.access()], [ALL, NOTHING], 'and no power on')
  t.same(await a.keys(), [1, 2])
  t.equal((await a.in(0))[3], 2, 'PRGENERATION')
  t.equal((await modeSense(a)).data[6]! & 4, 4, 'D_SENSE')
  t.same(await told(b), [6, 0x2a, 1], 'the unit attention of the MODE SELECT')
  t.equal(await b.out('PREEMPT', { key: 2, actionKey: 1 }, 3), 0)
  await end(second, 'SIGTERM')

  const third = await start()
  await goOn(both, third)
  t.same([await a.access(), await b.access()], [NOTHING, ALL])
  t.same(await told(a), [6, 0x2a, 5], 'the unit attention of the PREEMPT')
  t.same(await told(a), undefined)
  t.same(readdirSync(stateDir).sort(), ['lun-3000000000000001.json', 'lun-3000000000000001.json.lock'])

  t.match(await refusal(), /^vhost-user-scsid: lun "disk0": .*another process keeps state there\n$/)
  await end(third, 'SIGTERM')
  const text = readFileSync(file, 'utf8')
  writeFileSync(file, text.slice(0, text.length / 2))
  t.match(await refusal(), /^vhost-user-scsid: lun "disk0": .*damaged.*\n$/)
})

t.test('after a boot of the host what was to persist comes back, and nothing else', async (t) => {
  const { file, start } = setting(t)
  const first = await start()
  const both = await guests(t, first)
  const { a, b } = both
  await a.out('REGISTER', { actionKey: 1, aptpl: true })
  await a.out('RESERVE', { key: 1 }, 3)
  await end(first, 'SIGKILL')
  reboot(file)
  const second = await start()
  await goOn(both, second)
  t.same([await a.attention(), await b.attention()], [POWER_ON, POWER_ON])
  t.same([await a.access(), await b.access()], [ALL, NOTHING])
  t.equal((await a.in(0))[3], 0, 'PRGENERATION')
  t.equal((await a.in(2))[3]! & 1, 1, 'PTPL_A')
  await a.out('REGISTER', { key: 1, actionKey: 1 })
  await end(second, 'SIGKILL')
  reboot(file)
  await goOn(both, await start())
  t.same([await a.attention(), await b.attention()], [POWER_ON, POWER_ON])
  t.same(await b.access(), ALL)
  t.same(await b.keys(), [])
})

t.test('a memory LUN begins anew, with what was to persist', async (t) => {
  const { start } = setting(t, { driver: 'memory', size: '1M' })
  const first = await start()
  const both = await guests(t, first)
  const { a, b } = both
  await a.out('REGISTER', { actionKey: 1, aptpl: true })
  await a.out('RESERVE', { key: 1 }, 3)
  await end(first, 'SIGTERM')
  await goOn(both, await start())
  t.same([await a.attention(), await b.attention()], [POWER_ON, POWER_ON])
  t.same([await a.access(), await b.access()], [ALL, NOTHING])
})
