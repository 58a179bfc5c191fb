import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { getAffinity } from 'memfd-mmap'
import t from 'tap'
import { IoThread } from '../../iothreads/iothread.js'
import type { Medium } from '../../iothreads/messages.js'
import { Child } from '../support/child.js'
import { eventually, within } from '../support/deadline.js'
import { HeldThread } from '../support/held-thread.js'
import { read10 } from '../support/iothreads/cdb.js'
import { DEADLINE, IoRig, startThread } from '../support/iothreads/io-rig.js'
import { holdings } from '../support/iothreads/own-process.js'
import { unitSpec } from '../support/iothreads/units.js'

const NO_EVENTS = { fault() {}, mediumFault() {}, forwarded() {}, recalled() {}, failed() {} }

function threadNames(): string[] {
  return readdirSync('/proc/self/task').map((tid) => readFileSync(`/proc/self/task/${tid}/comm`, 'utf8').trim())
}

for (const engine of ['io_uring', 'epoll'] as const) {
  t.test(`a thread has its name, its id and its CPUs: ${engine}`, async (t) => {
    const cpus = getAffinity(0)
    const last = cpus.at(-1)!
    const { thread, failures } = await startThread(t, { id: `vus-${engine}`, cpus: [last], engine })
    t.equal(thread.id, `vus-${engine}`)
    t.equal(thread.engine, engine)
    t.equal(thread.engineFault, null)
    t.equal(readFileSync(`/proc/self/task/${thread.tid}/comm`, 'utf8'), `vus-${engine}\n`)
    t.strictSame(getAffinity(thread.tid), [last])
    t.strictSame(getAffinity(0), cpus, 'the others go where they please')
    await thread.stop()
    t.notOk(threadNames().includes(`vus-${engine}`))
    await thread.stop()
    await t.rejects(thread.send({ type: 'stop' }), { message: /has ended/ })
    t.strictSame(failures, [])
  })
}

t.test('a thread on all CPUs, one with a long name', async (t) => {
  const cpus = getAffinity(0)
  const { thread } = await startThread(t, { id: 'a-name-of-more-than-fifteen', cpus })
  t.strictSame(getAffinity(thread.tid), cpus)
  t.ok(threadNames().includes('a-name-~fifteen'))
})

t.test('a CPU that is not there is an error at the start, also beside one that is', async (t) => {
  const before = holdings()
  const [there] = getAffinity(0)
  for (const cpus of [[8000], [there!, 8000], []]) {
    await t.rejects(IoThread.start({ id: 'nowhere', cpus }, NO_EVENTS), { message: /sched_setaffinity/ })
  }
  t.notOk(threadNames().includes('nowhere'))
  t.strictSame(holdings(), before)
})

for (const engine of ['io_uring', 'epoll'] as const) {
  t.test(`a sign of life: ${engine}`, async (t) => {
    const { thread, failures } = await startThread(t, { engine })
    t.equal(thread.answered, true, 'nobody has asked')
    const answered = () => eventually(DEADLINE, 'a sign of life', () => (thread.answered ? true : undefined))
    for (let i = 0; i < 5; i++) {
      thread.ask()
      await answered()
    }
    const held = await HeldThread.hold(t, thread.tid)
    for (let i = 0; i < 3; i++) {
      thread.ask()
      t.equal(thread.answered, false)
    }
    const controller = 'meanwhile'
    const attached = thread.send({ type: 'attachController', controller, units: [] })
    await held.release()
    await answered()
    t.equal(await within(DEADLINE, 'the answer to a command', attached), 0, 'asking does not hide a command')
    await thread.send({ type: 'detachController', controller })
    await thread.stop()
    thread.ask()
    t.equal(thread.answered, true, 'a thread that has ended is not asked')
    t.strictSame(failures, [])
  })
}

t.test('start and stop leave nothing', async (t) => {
  const run = async (): Promise<void> => {
    const thread = await IoThread.start({ id: 'again' }, NO_EVENTS)
    await thread.stop()
  }
  await run()
  const before = holdings()
  for (let i = 0; i < 4; i++) await run()
  t.strictSame(holdings(), before)
})

t.test('commands that cannot be carried out are refused, and the thread goes on', async (t) => {
  const { thread, failures } = await startThread(t)
  const controller = 'none'
  const match = { target: 0, lun: 0, tag: null }
  await t.rejects(thread.send({ type: 'detachController', controller }), {
    message: 'IOThread io0: no controller none',
  })
  await t.rejects(thread.send({ type: 'setMemory', controller, regions: [] }), { message: /no controller/ })
  await t.rejects(thread.send({ type: 'stopQueue', controller, index: 2 }), { message: /no controller/ })
  await t.rejects(thread.send({ type: 'setCall', controller, index: 2, callFd: -1 }), { message: /no controller/ })
  await t.rejects(thread.send({ type: 'query', controller, ...match }), { message: /no controller/ })
  await t.rejects(thread.send({ type: 'cancel', controller, ...match, reason: 1 }), { message: /no controller/ })
  const units = [unitSpec({ kind: 'null', delayNs: 0 })]
  t.equal(await thread.send({ type: 'attachController', controller, units }), 0)
  await t.rejects(thread.send({ type: 'attachController', controller, units }), { message: /is attached/ })
  await t.rejects(thread.send({ type: 'stopQueue', controller, index: 2 }), {
    message: /no queue 2 of controller none/,
  })
  const twins = [...units, ...units]
  await t.rejects(thread.send({ type: 'attachController', controller: 'twins', units: twins }), { message: /taken/ })
  t.equal(await thread.send({ type: 'query', controller, ...match }), 0)
  t.equal(await thread.send({ type: 'cancel', controller, ...match, reason: 1 }), 0, 'nothing to wait for')
  t.equal(await thread.send({ type: 'detachController', controller }), 0)
  t.strictSame(failures, [])
})

t.test('answers come in the order of the commands', async (t) => {
  const { thread } = await startThread(t)
  const controller = 'c'
  const units = [unitSpec({ kind: 'null', delayNs: 0 })]
  const order: number[] = []
  await Promise.all(
    Array.from({ length: 100 }, (_, i) =>
      thread
        .send(i % 2 === 0 ? { type: 'attachController', controller, units } : { type: 'detachController', controller })
        .then(() => order.push(i)),
    ),
  )
  t.strictSame(
    order,
    order.map((_, i) => i),
  )
})

t.test('a thread that dies says so, fails what waits for it, and refuses the rest', async (t) => {
  const started = await startThread(t)
  const { thread, failures } = started
  // A medium that is none: the first transfer throws, as an error of ours would.
  const broken = { kind: 'memory', fd: -1, address: 'nowhere' } as unknown as Medium
  const units = [unitSpec(broken), unitSpec({ kind: 'null', delayNs: 3600e9 }, { lun: 1 })]
  const rig = await IoRig.start(t, { units, threads: [started, started] })
  void rig.submit(1, { cdb: read10(0, 1), lun: 1, dataIn: 512 })
  const query = { type: 'query', controller: rig.controller, target: 0, lun: 1, tag: null } as const
  const inFlight = () => thread.send(query)
  await eventually(DEADLINE, 'a request in flight', async () => ((await inFlight()) === 1 ? true : undefined))
  const waiting = rig.stopQueue(1)
  t.equal(await inFlight(), 1)
  void rig.submit(0, { cdb: read10(0, 1), dataIn: 512 })
  const failure = await within(DEADLINE, 'failure', started.failed())
  t.type(failure, Error)
  await t.rejects(waiting, { message: failure.message })
  await thread.stop()
  t.strictSame(failures, [failure])
  await t.rejects(thread.send(query), { message: failure.message })
  t.notOk(threadNames().includes('io0'))
})

for (const [how, engine, code] of [
  ['exit', 'io_uring', 7],
  ['throw', 'epoll', 1],
  ['end', 'io_uring', 0],
] as const) {
  t.test(`a process whose IOThreads sleep ends: ${how}, ${engine}`, async (t) => {
    const program = join(import.meta.dirname, '../support/iothreads/sleeping-threads.js')
    const child = new Child(t, 'sleeping-threads', process.execPath, [program, how, engine])
    await child.output('stdout', /sleeping/, 2 * DEADLINE)
    t.strictSame(await child.ended(DEADLINE), { code, signal: null })
    if (how === 'throw') t.match(child.stderr, /thrown on purpose/)
  })
}

t.test('a thread that is asleep wakes up for a message at once', async (t) => {
  const { thread } = await startThread(t, { pollMaxNs: 0 })
  const path = `/proc/self/task/${thread.tid}/stat`
  for (let i = 0; i < 5; i++) {
    await eventually(DEADLINE, 'sleep', () => (/\) S /.test(readFileSync(path, 'latin1')) ? true : undefined))
    await t.rejects(thread.send({ type: 'detachController', controller: 'x' }), { message: /no controller/ })
  }
})
