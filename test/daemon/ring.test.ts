import fc from 'fast-check'
import t from 'tap'
import type { RingSetup } from 'vhost-user-protocol-ts'
import { Ring, type RingServer } from '../../daemon/ring.js'
import type { HostRing } from '../../iothreads/index.js'

const SETUP: RingSetup = {
  index: 2,
  size: 8,
  base: 5,
  desc: 0,
  avail: 0,
  used: 0,
  logAddress: 0,
  flags: 0,
  kickFd: 10,
  callFd: 11,
  errFd: 12,
  features: 0n,
}

/** Serves nothing; each run moves the index by one, and takes as long as the test's turn of the event loop. */
class Recorder implements RingServer {
  readonly calls: string[] = []
  running = false
  refuse = false
  #next = 0

  async start(ring: HostRing): Promise<void> {
    if (this.running) throw new Error('started twice')
    await Promise.resolve()
    if (this.refuse) throw new Error('refused')
    this.calls.push(`start ${ring.base} ${ring.callFd} ${ring.errFd}`)
    this.running = true
    this.#next = ring.base + 1
  }

  async stop(): Promise<number> {
    if (!this.running) throw new Error('not running')
    await Promise.resolve()
    this.calls.push('stop')
    this.running = false
    return this.#next
  }

  async setCall(fd: number): Promise<void> {
    if (!this.running) throw new Error('not running')
    this.calls.push(`call ${fd}`)
  }

  async setErr(fd: number): Promise<void> {
    if (!this.running) throw new Error('not running')
    this.calls.push(`err ${fd}`)
  }
}

/** The set-up is its own place here: the recorder looks at no address. */
const locate = (setup: RingSetup): HostRing => ({ ...setup, packed: false, eventIdx: false, indirect: false })

t.test('it runs once its first pause is taken back, from where it stood', async (t) => {
  const server = new Recorder()
  const ring = new Ring(SETUP, server, locate)
  await ring.resume()
  t.equal(await ring.pause(), 6)
  t.equal(ring.setup.base, 6)
  await ring.resume()
  t.same(server.calls, ['start 5 11 12', 'stop', 'start 6 11 12'])
})

t.test('pauses nest', async (t) => {
  const server = new Recorder()
  const ring = new Ring(SETUP, server, locate)
  await ring.resume()
  t.equal(await ring.pause(), 6)
  t.equal(await ring.pause(), 6, 'the second finds it at rest')
  await ring.resume()
  t.notOk(server.running, 'one holds it still')
  await ring.resume()
  t.ok(server.running)
  t.same(server.calls, ['start 5 11 12', 'stop', 'start 6 11 12'])
})

t.test('descriptors that come during a pause are used after it', async (t) => {
  const server = new Recorder()
  const ring = new Ring(SETUP, server, locate)
  await ring.resume()
  await ring.setCall(20)
  await ring.setErr(21)
  await ring.pause()
  await ring.setCall(30)
  await ring.setErr(31)
  await ring.resume()
  t.same(server.calls, ['start 5 11 12', 'call 20', 'err 21', 'stop', 'start 6 30 31'])
})

t.test('a ring that cannot be started is at rest, and can be resumed later', async (t) => {
  const server = new Recorder()
  const ring = new Ring(SETUP, server, locate)
  server.refuse = true
  await t.rejects(ring.resume(), { message: 'refused' })
  t.equal(await ring.pause(), 5)
  server.refuse = false
  await ring.resume()
  t.same(server.calls, ['start 5 11 12'])
})

t.test('a place that is not there keeps it at rest', async (t) => {
  const server = new Recorder()
  const ring = new Ring(SETUP, server, () => {
    throw new Error('nowhere')
  })
  await t.rejects(ring.resume(), { message: 'nowhere' })
  t.equal(await ring.pause(), 5)
  t.same(server.calls, [])
})

t.test('whoever has paused it finds it at rest, however many do', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.array(fc.nat(3), { maxLength: 4 }), { minLength: 1, maxLength: 6 }),
      async (holders) => {
        const server = new Recorder()
        const ring = new Ring(SETUP, server, locate)
        await ring.resume()
        const hold = async (turns: readonly number[]): Promise<void> => {
          for (const count of turns) {
            await ring.pause()
            for (let turn = 0; turn <= count; turn++) {
              if (server.running) throw new Error('it runs while it is paused')
              await Promise.resolve()
            }
            await ring.resume()
          }
        }
        await Promise.all(holders.map(hold))
        const starts = server.calls.filter((call) => call.startsWith('start')).length
        return server.running && starts === server.calls.length - starts + 1
      },
    ),
    { seed: 3 },
  )
})
