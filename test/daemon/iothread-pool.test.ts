import { readdirSync, readFileSync } from 'node:fs'
import { getAffinity } from 'memfd-mmap'
import t, { type Test } from 'tap'
import type { IothreadConfig } from '../../daemon/daemon-config.js'
import { Heartbeats } from '../../daemon/heartbeats.js'
import { IothreadPool } from '../../daemon/iothread-pool.js'
import type { Log } from '../../daemon/log.js'
import type { Medium } from '../../iothreads/messages.js'
import { eventually, within } from '../support/deadline.js'
import { HeldThread } from '../support/held-thread.js'
import { read10 } from '../support/iothreads/cdb.js'
import { DEADLINE, IoRig } from '../support/iothreads/io-rig.js'
import { holdings } from '../support/iothreads/own-process.js'
import { unitSpec } from '../support/iothreads/units.js'

const NO_CPU = 1023
const SETTINGS = { pollMaxNs: 0, pollGrow: 0, pollShrink: 0 }

function settings(id: string, more: Partial<IothreadConfig> = {}): IothreadConfig {
  return { id, ...SETTINGS, ...more }
}

interface Bed {
  readonly pool: IothreadPool
  readonly lines: string[]
  readonly failed: Promise<Error>
}

/** A pool that ends with the test, and the lines that it logs. */
function bed(t: Test, intervalMs = 1000): Bed {
  const lines: string[] = []
  const write = (level: string) => (fields: object, message: string) => {
    lines.push(`${level} ${message} ${JSON.stringify(fields)}`)
  }
  const log = { debug: write('debug'), info: write('info'), warn: write('warn') } as unknown as Log
  let fail: (error: Error) => void = () => {}
  const failed = new Promise<Error>((resolve) => {
    fail = resolve
  })
  const pool = new IothreadPool(
    { fault() {}, mediumFault() {}, forwarded() {}, recalled() {}, failed: (error) => fail(error) },
    log,
    new Heartbeats(log, { intervalMs, silentAfterMs: 5 * intervalMs }),
  )
  t.teardown(() => within(DEADLINE, 'end of the pool', pool.stop()))
  return { pool, lines, failed }
}

const ids = (pool: IothreadPool) => pool.list().map(({ id }) => id)

function threadNames(): string[] {
  return readdirSync('/proc/self/task').map((tid) => readFileSync(`/proc/self/task/${tid}/comm`, 'utf8').trim())
}

t.test('the IOThreads of the configuration, in order', async (t) => {
  const { pool, lines } = bed(t)
  const [cpu] = getAffinity(0)
  const configs = [settings('disk'), settings('bound', { cpus: [cpu!], pollMaxNs: 1000 })]
  await pool.start(configs)
  t.strictSame(
    pool.list().map(({ id, config, origin }) => ({ id, config, origin })),
    configs.map((config) => ({ id: config.id, config, origin: 'configuration' })),
  )
  for (const { id, tid, engine } of pool.list()) {
    const thread = pool.get(id)!
    t.equal(readFileSync(`/proc/self/task/${tid}/comm`, 'utf8'), `${id}\n`)
    t.strictSame([thread.tid, thread.engine], [tid, engine])
    t.equal(pool.list().find((each) => each.id === id)!.statistics, thread.statistics)
    t.ok(lines.includes(`debug IOThread started ${JSON.stringify({ iothread: id, tid, engine })}`))
  }
  t.strictSame(getAffinity(pool.get('bound')!.tid), [cpu])
  t.equal(pool.get('none'), undefined)
})

t.test('one of the configuration that cannot be started', async (t) => {
  const { pool } = bed(t)
  await t.rejects(pool.start([settings('io0'), settings('io1', { cpus: [NO_CPU] }), settings('io2')]), {
    name: 'StartError',
    code: 'EINVAL',
    message: `iothread "io1" on CPUs ${NO_CPU}: cannot be started: EINVAL`,
  })
  t.strictSame(ids(pool), ['io0'], 'those before it run, those after it do not')
  await pool.stop()
  t.strictSame(ids(pool), [])
  t.notOk(threadNames().includes('io0'))
})

t.test('IOThreads come and go', async (t) => {
  const { pool } = bed(t)
  await pool.start([settings('io0'), settings('io2')])
  t.equal(await pool.add(SETTINGS), 'io1', 'the first free name')
  t.equal(await pool.add(SETTINGS), 'io3')
  t.equal(await pool.add(settings('mine')), 'mine')
  t.strictSame(ids(pool), ['io0', 'io2', 'io1', 'io3', 'mine'])
  t.strictSame(
    pool.list().map(({ origin }) => origin),
    ['configuration', 'configuration', 'control', 'control', 'control'],
  )
  t.strictSame(pool.list()[2]!.config, settings('io1'))
  t.equal(await pool.get('io1')!.send({ type: 'attachController', controller: 'vm', units: [] }), 0, 'it works')
  await pool.get('io1')!.send({ type: 'detachController', controller: 'vm' })
  const { tid } = pool.get('io1')!
  await pool.remove('io1')
  t.notOk(readdirSync('/proc/self/task').includes(String(tid)), 'the thread has ended')
  t.equal(pool.get('io1'), undefined)
  await pool.remove('io0')
  t.strictSame(ids(pool), ['io2', 'io3', 'mine'], 'also one of the configuration')
  t.equal(await pool.add(SETTINGS), 'io0', 'a name that is free again')
  t.equal(await pool.add(settings('io1')), 'io1')
})

t.test('what cannot be', async (t) => {
  const { pool } = bed(t)
  await pool.start([settings('io0')])
  await t.rejects(pool.add(settings('io0')), {
    name: 'IothreadPoolError',
    code: 'EEXIST',
    message: 'iothread "io0" exists already',
  })
  await t.rejects(pool.remove('io1'), {
    name: 'IothreadPoolError',
    code: 'ENODEV',
    message: 'iothread "io1" does not exist',
  })
  await t.rejects(pool.add({ ...SETTINGS, cpus: [NO_CPU] }), {
    name: 'IothreadPoolError',
    code: 'EINVAL',
    message: `iothread "io1" on CPUs ${NO_CPU}: cannot be started: EINVAL`,
  })
  t.strictSame(ids(pool), ['io0'])
  t.equal(await pool.add(SETTINGS), 'io1', 'the failed one holds no name')
})

t.test('at the same time', async (t) => {
  const { pool } = bed(t)
  const added = [pool.add(SETTINGS), pool.add(settings('io1')), pool.add(SETTINGS), pool.add(settings('mine'))]
  const outcomes = (await Promise.allSettled([...added, pool.add(settings('mine'))])).map((outcome) =>
    outcome.status === 'fulfilled' ? outcome.value : outcome.reason.code,
  )
  t.strictSame(outcomes, ['io0', 'io1', 'io2', 'mine', 'EEXIST'])
  const removals = await Promise.allSettled([pool.remove('mine'), pool.remove('mine')])
  t.match(removals, [{ status: 'fulfilled' }, { status: 'rejected', reason: { code: 'ENODEV' } }])
})

t.test('all of them are watched, and no longer than they live', async (t) => {
  const { pool } = bed(t, 100)
  await pool.start([settings('io0')])
  await pool.add(SETTINGS)
  const beats = () => pool.list().every(({ heartbeat }) => heartbeat.answered > 2)
  await eventually(DEADLINE, 'heartbeats', () => (beats() ? true : undefined))
  const held = await HeldThread.hold(t, pool.get('io1')!.tid)
  const silent = (ids: string) =>
    eventually(DEADLINE, `silent: ${ids}`, () => (pool.silent().join() === ids ? true : undefined))
  await silent('io1')
  t.strictSame(
    pool.list().map(({ id, heartbeat }) => [id, heartbeat.silent]),
    [
      ['io0', false],
      ['io1', true],
    ],
  )
  const removed = pool.remove('io1')
  t.strictSame(ids(pool), ['io0'])
  await pool.remove('io0')
  t.strictSame(pool.silent(), ['io1'], 'one that shall end, and does not')
  await held.release()
  await within(DEADLINE, 'the end of the IOThread', removed)
  t.strictSame(pool.silent(), [])
  await pool.add(SETTINGS)
  await eventually(DEADLINE, 'heartbeats', () => (beats() ? true : undefined))
})

t.test('the end takes along what is under way, and leaves nothing', async (t) => {
  const run = async (): Promise<void> => {
    const { pool } = bed(t)
    await pool.start([settings('io0'), settings('io1')])
    const added = pool.add(SETTINGS)
    const removed = pool.remove('io1')
    await pool.stop()
    t.strictSame(ids(pool), [])
    t.equal(await added, 'io2')
    await removed
    await t.rejects(pool.add(SETTINGS), { code: 'ESHUTDOWN' })
    await t.rejects(pool.remove('io0'), { code: 'ENODEV' })
    await pool.stop()
  }
  await run()
  const before = holdings()
  await run()
  t.strictSame(holdings(), before)
  t.notOk(threadNames().some((name) => /^io\d$/.test(name)))
})

t.test('an IOThread that dies is told of', async (t) => {
  const { pool, failed } = bed(t)
  const id = await pool.add(SETTINGS)
  const thread = pool.get(id)!
  // A medium that is none: the first transfer throws, as an error of ours would.
  const broken = { kind: 'memory', fd: -1, address: 'nowhere' } as unknown as Medium
  const started = {
    thread,
    faults: [],
    mediumFaults: [],
    failures: [],
    forwarded: [],
    recalled: [],
    failed: () => failed,
  }
  const rig = await IoRig.start(t, { units: [unitSpec(broken)], threads: [started] })
  void rig.submit(0, { cdb: read10(0, 1), dataIn: 512 })
  t.type(await within(DEADLINE, 'the failure', failed), Error)
  await within(DEADLINE, 'end of the pool', pool.stop())
})
