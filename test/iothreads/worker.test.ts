import assert from 'node:assert/strict'
import { createEventfd, raw, signalEventfd } from 'memfd-mmap'
import t from 'tap'
import { RESPONSE } from 'vhost-user-protocol-ts'
import { CANCEL, FIELD, OPERATION, QUEUE_FIELD } from '../../iothreads/index.js'
import type { MediumJob } from '../../iothreads/medium-job.js'
import type { Medium, UnitSpec } from '../../iothreads/messages.js'
import { createGate } from '../../iothreads/write-gate-memory.js'
import { STATUS } from '../../scsi/index.js'
import { eventually, within } from '../support/deadline.js'
import {
  BYTCHK,
  read10,
  read16,
  TEST_UNIT_READY,
  unmap,
  verify10,
  verify16,
  write10,
  writeSame16,
} from '../support/iothreads/cdb.js'
import { DEADLINE, IoRig, startThread } from '../support/iothreads/io-rig.js'
import { holdings, ownAddressSpace, watches } from '../support/iothreads/own-process.js'
import { rounds } from '../support/iothreads/rounds.js'
import { imageFd, testMedium, unitSpec } from '../support/iothreads/units.js'
import { splitDriver } from '../support/vhost/ring-driver.js'
import type { ScsiResult } from '../support/vhost/scsi-request.js'

const MILLISECOND = 1e6
const held = (milliseconds: number, lun = 0): UnitSpec =>
  unitSpec({ kind: 'null', delayNs: milliseconds * MILLISECOND }, { lun, size: 2 ** 30 })
const good = ({ response, status }: ScsiResult): boolean => response === RESPONSE.OK && status === STATUS.GOOD

for (const engine of ['io_uring', 'epoll'] as const) {
  t.test(`stop with I/O in flight lets it end, and a start goes on there: ${engine}`, async (t) => {
    const threads = [await startThread(t, { engine })]
    const rig = await IoRig.start(t, { units: [held(300)], threads })
    const match = { type: 'query', controller: rig.controller, target: 0, lun: 0, tag: null } as const
    for (let base = 0; base < 84; base += 21) {
      const answers = Array.from({ length: 20 }, (_, i) => rig.submit(0, { cdb: read10(i, 1), dataIn: 512 }))
      await eventually(DEADLINE, 'all in flight', async () => ((await rig.send(0, match)) === 20 ? true : undefined))
      t.equal(await rig.stopQueue(0), base + 20)
      t.equal(rig.queues[0]!.driver.deviceUsedIndex, base + 20, 'all are answered before the stop is')
      t.ok((await within(DEADLINE, 'answers', Promise.all(answers))).every(good))
      const late = rig.submit(0, { cdb: read10(0, 1), dataIn: 512 })
      await rig.startQueue(0, base + 20)
      t.ok(good(await within(DEADLINE, 'what came meanwhile', late)))
    }
  })

  t.test(`start and stop over and over leave nothing: ${engine}`, async (t) => {
    const { medium } = testMedium(t, 'file', 2 ** 20)
    const threads = [await startThread(t, { engine })]
    const rig = await IoRig.start(t, { units: [unitSpec(medium)], threads })
    let base = await rig.stopQueue(0)
    const cycle = async (i: number): Promise<void> => {
      const kickFd = createEventfd()
      await rig.startQueue(0, base, { kickFd })
      const answer = i % 4 === 0 ? rig.submit(0, { cdb: read10(i % 2048, 1), dataIn: 512 }) : undefined
      // A notification may be on its way when the stop comes, or not.
      if (i % 3 !== 0) signalEventfd(kickFd)
      base = await rig.stopQueue(0)
      assert.equal(raw.close(kickFd), 0)
      if (answer !== undefined) {
        if (rig.queues[0]!.driver.deviceUsedIndex !== base) throw new Error('answered later than the stop')
        // It may have come too late to be fetched.
        if (base === rig.queues[0]!.driver.availIndex) await within(DEADLINE, 'answer', answer)
      }
    }
    for (let i = 0; i < 50; i++) await cycle(i)
    const before = holdings()
    const space = ownAddressSpace()
    t.equal(watches(), 1, 'the doorbell')
    for (let i = 0; i < rounds(1000); i++) await cycle(i)
    t.strictSame(holdings(), before)
    t.equal(watches(), 1)
    // A table of requests takes 8 MiB of addresses here.
    t.ok(ownAddressSpace() - space < 2 ** 30)
    await rig.startQueue(0, base)
    await eventually(DEADLINE, 'a second watch', () => (watches() === 2 ? true : undefined))
    t.ok(good(await rig.run(0, { cdb: TEST_UNIT_READY })), 'and the ring still works')
  })

  t.test(`the call descriptor is replaced under load: ${engine}`, async (t) => {
    const { medium } = testMedium(t, 'file', 2 ** 20)
    const threads = [await startThread(t, { engine })]
    const rig = await IoRig.start(t, { units: [unitSpec(medium)], threads })
    const [queue] = rig.queues
    let running = true
    const load = async (): Promise<number> => {
      let count = 0
      for (; running; count++) {
        if (!good(await rig.run(0, { cdb: read10(count % 2048, 1), dataIn: 512 }))) throw new Error('failed')
      }
      return count
    }
    const loads = [load(), load(), load()]
    const { index } = queue!
    for (let i = 0; i < 100; i++) {
      const closeOld = queue!.replaceCallFd()
      await rig.send(0, { type: 'setCall', controller: rig.controller, index, callFd: queue!.callFd })
      closeOld()
    }
    running = false
    const counts = await within(DEADLINE, 'end of the load', Promise.all(loads))
    t.ok(counts.every((count) => count > 0))
    // None: answers are there, and nobody is told.
    await rig.send(0, { type: 'setCall', controller: rig.controller, index, callFd: -1 })
    const used = queue!.driver.deviceUsedIndex
    const calls = rig.statistics[0]!.readQueue(QUEUE_FIELD.CALLS)
    const silent = rig.submit(0, { cdb: TEST_UNIT_READY })
    await eventually(DEADLINE, 'answer', () => (queue!.driver.deviceUsedIndex !== used ? true : undefined))
    t.equal(rig.statistics[0]!.readQueue(QUEUE_FIELD.CALLS), calls)
    queue!.collect()
    t.ok(good(await silent))
  })

  t.test(`a ring that breaks is told of through the descriptor set last: ${engine}`, async (t) => {
    const threads = [await startThread(t, { engine })]
    const rig = await IoRig.start(t, { units: [held(0)], threads })
    const [queue] = rig.queues
    const other = createEventfd()
    t.teardown(() => raw.close(other))
    await rig.startQueue(0, 0).then(
      () => t.fail('started twice'),
      (error: Error) => t.match(error.message, /queue 2 of controller scsi0 is started/),
    )
    t.ok(good(await rig.run(0, { cdb: TEST_UNIT_READY })))
    const { index } = queue!
    await rig.send(0, { type: 'setErr', controller: rig.controller, index, errFd: other })
    await rig.send(0, { type: 'setErr', controller: rig.controller, index, errFd: queue!.errFd })
    splitDriver(queue!.driver).publishRaw(1 + 300)
    queue!.kick()
    t.match(await within(DEADLINE, 'break', queue!.breaks()), { message: /reported an error/ })
    await eventually(DEADLINE, 'report', () => threads[0]!.faults[0])
    t.strictSame(threads[0]!.faults, [
      { type: 'fault', controller: 'scsi0', index: 2, code: 'VUS_RING_AVAILABLE_INDEX', fatal: true, suppressed: 0 },
    ])
    t.equal(rig.statistics[0]!.readFault('VUS_RING_AVAILABLE_INDEX'), 1)
    t.equal(await rig.stopQueue(0), 1)
    // The front end sets it up anew.
    queue!.driver.reset()
    await rig.startQueue(0)
    queue!.driver.add([{ address: 0x10_0000, length: 4, writable: true }])
    queue!.publish()
    await eventually(DEADLINE, 'answer', () => (queue!.driver.deviceUsedIndex === 1 ? true : undefined))
  })

  t.test(`a ring without a kick descriptor is looked at by itself: ${engine}`, async (t) => {
    const threads = [await startThread(t, { engine, pollMaxNs: 0 })]
    const rig = await IoRig.start(t, { units: [held(0)], threads })
    const base = await rig.stopQueue(0)
    await rig.startQueue(0, base, { kickFd: -1 })
    const start = performance.now()
    for (let i = 0; i < 20; i++) assert.ok(good(await rig.run(0, { cdb: TEST_UNIT_READY })))
    t.ok(performance.now() - start < 8000, 'without a sleep of a second each')
    t.equal(await rig.stopQueue(0), 20)
    await rig.startQueue(0, 20)
    t.ok(good(await rig.run(0, { cdb: TEST_UNIT_READY })))
  })

  t.test(`jobs on media, the last one before the thread ends: ${engine}`, async (t) => {
    const size = 4 * 2 ** 20
    const { thread } = await startThread(t, { engine })
    const file = testMedium(t, 'file', size)
    const memory = testMedium(t, 'memory', size)
    const gate = { memory: createGate(), reads: false }
    const send = (job: MediumJob): Promise<number> => within(DEADLINE, job.type, thread.send({ type: 'job', job }))
    const whole = { gate, offset: 0, length: size }
    const pattern = Uint8Array.of(1, 2, 3, 4, 5, 6, 7)
    const slow: Medium = { kind: 'null', delayNs: 1e9 * 3600 }
    t.equal(await send({ type: 'fill', medium: file.medium, ...whole, pattern }), size)
    t.equal(await send({ type: 'copy', medium: memory.medium, ...whole, source: file.medium, sourceOffset: 0 }), size)
    t.equal(await send({ type: 'zero', medium: file.medium, gate, offset: 4096, length: 8192, deallocate: true }), 0)
    t.equal(await send({ type: 'copy', medium: slow, ...whole, source: memory.medium, sourceOffset: 0 }), size)
    const last = send({ type: 'copy', medium: memory.medium, ...whole, source: file.medium, sourceOffset: 0 })
    await within(DEADLINE, 'the end of the thread', thread.stop())
    t.equal(await last, size)
    const expected = Uint8Array.from({ length: size }, (_, i) => pattern[i % 7]!).fill(0, 4096, 12288)
    t.equal(Buffer.compare(file.content(), expected), 0)
    t.equal(Buffer.compare(memory.content(), expected), 0)
  })

  t.test(`requests are cancelled by unit and by tag, each answered once: ${engine}`, async (t) => {
    const threads = [await startThread(t, { engine }), await startThread(t, { id: 'io1', engine })]
    const rig = await IoRig.start(t, { units: [held(300), held(300, 1)], threads })
    const answered: ScsiResult[][] = [[], []]
    const submit = (queue: number, lun: number, tag: number): Promise<unknown> =>
      rig.submit(queue, { cdb: read10(0, 1), lun, tag, dataIn: 512 }).then((answer) => answered[lun]!.push(answer))
    const match = { controller: rig.controller, target: 0, tag: null }
    const all: Promise<unknown>[] = []
    for (let tag = 0; tag < 25; tag++) {
      for (const queue of [0, 1]) for (const lun of [0, 1]) all.push(submit(queue, lun, 100 + tag))
    }
    await eventually(DEADLINE, 'all in flight', async () =>
      (await rig.tellAll({ ...match, type: 'query', lun: 0 })) === 50 &&
      (await rig.tellAll({ ...match, type: 'query', lun: 1 })) === 50
        ? true
        : undefined,
    )
    t.equal(await rig.tellAll({ ...match, type: 'query', lun: 0, tag: [110, 0] }), 2)
    t.equal(await rig.tellAll({ ...match, type: 'query', lun: 0, tag: [110, 1] }), 0)
    t.equal(await rig.tellAll({ ...match, type: 'query', lun: 2 }), 0)
    t.equal(await rig.tellAll({ ...match, type: 'cancel', lun: 2, reason: CANCEL.ABORTED }), 0)
    // What a null disk holds back ends at once: the first one finds them, and its reason counts.
    const cancelled = await Promise.all([
      rig.tellAll({ ...match, type: 'cancel', lun: 0, tag: [110, 0], reason: CANCEL.ABORTED }),
      rig.tellAll({ ...match, type: 'cancel', lun: 0, reason: CANCEL.RESET }),
      rig.tellAll({ ...match, type: 'cancel', lun: 0, reason: CANCEL.ABORTED }),
    ])
    t.strictSame(cancelled, [2, 48, 0])
    const used = rig.queues.map(({ driver }) => driver.deviceUsedIndex)
    t.ok(used[0]! >= 25 && used[1]! >= 25, 'they are answered before the command is')
    t.equal(await rig.tellAll({ ...match, type: 'query', lun: 0 }), 0)
    await within(DEADLINE, 'answers', Promise.all(all))
    t.strictSame(answered[0]!.map(({ response }) => response).sort(), [
      ...new Array(2).fill(RESPONSE.ABORTED),
      ...new Array(48).fill(RESPONSE.RESET),
    ])
    t.equal(answered[1]!.length, 50)
    t.ok(answered[1]!.every(good), 'the other unit is let alone')
    for (const i of [0, 1]) t.equal(await rig.stopQueue(i), 50)
    t.strictSame(
      rig.queues.map(({ driver }) => driver.deviceUsedIndex),
      [50, 50],
    )
    t.equal(rig.statistics[0]!.read(0, OPERATION.READ, FIELD.ERRORS), 25)
  })
}

t.test('cancelled while steps and programs are under way', async (t) => {
  const size = 64 * 2 ** 20
  const fd = imageFd(t, size)
  const unit = unitSpec({ kind: 'file', fd, inline: false }, { size })
  const threads = [await startThread(t, { engine: 'io_uring' })]
  const rig = await IoRig.start(t, { units: [unit], threads })
  const blocks = size / 512
  const zeros = new Uint8Array(512)
  const pattern = new Uint8Array(512).fill(3)
  const ranges = Array.from({ length: 200 }, (_, i) => [i * 100, 50] as const)
  const commands = [
    { cdb: verify16(0, blocks) },
    { cdb: verify16(0, blocks, BYTCHK.COMPARE_ONE_BLOCK), dataOut: zeros },
    { cdb: writeSame16(0, 16384), dataOut: pattern },
    unmap(ranges),
    { cdb: verify10(0, 60000) },
  ]
  const match = { controller: rig.controller, target: 0, lun: 0, tag: null }
  let ended = 0
  let aborted = 0
  // More often than there are bounce buffers.
  for (let round = 0; round < rounds(60); round++) {
    const answers = commands.map((command) => rig.submit(0, command))
    if (round % 3 !== 0) {
      await eventually(DEADLINE, 'a request in flight', async () =>
        (await rig.send(0, { ...match, type: 'query' })) > 0 ? true : undefined,
      )
    }
    await rig.send(0, { ...match, type: 'cancel', reason: CANCEL.ABORTED })
    for (const { response, status } of await within(DEADLINE, 'answers', Promise.all(answers))) {
      if (response === RESPONSE.ABORTED) aborted++
      // Those that were not yet fetched, and the compare that meets the pattern.
      else if (response === RESPONSE.OK && status !== STATUS.TASK_SET_FULL) ended++
      else t.fail(`response ${response}, status ${status}`)
    }
  }
  t.ok(aborted > 130, `${aborted} aborted, ${ended} ended`)
  t.ok(good(await rig.run(0, { cdb: verify16(0, 1000) })), 'no bounce buffer is lost')
  t.equal(await rig.stopQueue(0), rounds(60) * commands.length + 1)
})

t.test('a cancel and a stop at the same time', async (t) => {
  const threads = [await startThread(t)]
  const rig = await IoRig.start(t, { units: [held(60_000)], threads })
  const answers = Array.from({ length: 10 }, (_, i) =>
    rig.submit(0, { cdb: write10(i, 1), dataOut: new Uint8Array(512) }),
  )
  const match = { controller: rig.controller, target: 0, lun: 0, tag: null }
  await eventually(DEADLINE, 'all in flight', async () =>
    (await rig.send(0, { ...match, type: 'query' })) === 10 ? true : undefined,
  )
  const stopped = rig.stopQueue(0)
  await t.rejects(rig.stopQueue(0), { message: /is being stopped/ })
  const cancelled = rig.send(0, { ...match, type: 'cancel', reason: CANCEL.RESET })
  t.strictSame(await Promise.all([stopped, cancelled]), [10, 10])
  const all = await within(DEADLINE, 'answers', Promise.all(answers))
  t.ok(all.every(({ response }) => response === RESPONSE.RESET))
  await t.rejects(rig.stopQueue(0), { message: /no queue/ })
})

t.test('bad requests are told of now and then, and all are counted', async (t) => {
  const threads = [await startThread(t)]
  const rig = await IoRig.start(t, { units: [held(0)], threads })
  const [queue] = rig.queues
  for (let i = 0; i < 50; i++) queue!.add([{ address: 0x10_0000, length: 4, writable: true }])
  queue!.publish()
  await eventually(DEADLINE, 'answers', () => (queue!.driver.deviceUsedIndex === 50 ? true : undefined))
  t.equal(rig.statistics[0]!.readFault('VUS_REQUEST_HEADER_SHORT'), 50)
  const [first, ...more] = await eventually(DEADLINE, 'report', () =>
    threads[0]!.faults.length > 0 ? threads[0]!.faults : undefined,
  )
  t.match(first, { controller: 'scsi0', index: 2, code: 'VUS_REQUEST_HEADER_SHORT', fatal: false, suppressed: 0 })
  t.ok(more.length < 5, 'not each of them')
})

t.test('a queue moves from one IOThread to another and back', async (t) => {
  const { medium } = testMedium(t, 'file', 2 ** 20)
  const one = await startThread(t)
  const other = await startThread(t, { id: 'io1', engine: 'epoll' })
  const rig = await IoRig.start(t, { units: [unitSpec(medium)], threads: [one, other] })
  await rig.stopQueue(1)
  let base = await rig.stopQueue(0)
  const { controller } = rig
  for (let round = 0; round < 20; round++) {
    const { thread } = round % 2 === 0 ? other : one
    await thread.send({ type: 'startQueue', controller, queue: rig.queueSpec(0, base) })
    for (let i = 0; i < 5; i++) assert.ok(good(await rig.run(0, { cdb: read10(i, 1), dataIn: 512 })))
    base = await thread.send({ type: 'stopQueue', controller, index: 2 })
    t.equal(base, 5 * (round + 1))
  }
  t.equal(rig.statistics[0]!.read(0, OPERATION.READ, FIELD.REQUESTS), 100)
})

t.test('several controllers on one IOThread', async (t) => {
  const thread = await startThread(t)
  const rigs: IoRig[] = []
  for (let i = 0; i < 4; i++) {
    const units = [held(i % 2 === 0 ? 0 : 20), held(0, 7)]
    rigs.push(await IoRig.start(t, { units, threads: [thread, thread, thread], controller: `scsi${i}` }))
  }
  const load = async (rig: IoRig, queue: number): Promise<boolean> => {
    for (let i = 0; i < 20; i++) {
      if (!good(await rig.run(queue, { cdb: read10(i, 1), dataIn: 512, lun: i % 2 === 0 ? 0 : 7 }))) return false
    }
    return true
  }
  const loads = rigs.flatMap((rig) => rig.queues.map((_, queue) => load(rig, queue)))
  t.ok((await within(DEADLINE, 'loads', Promise.all(loads))).every((each) => each))
  // Slots that became free are used again, beside queues that go on.
  const [first, second] = rigs as [IoRig, IoRig, IoRig, IoRig]
  const beside = load(second, 1)
  for (let i = 0; i < 10; i++) {
    const base = await first.stopQueue(1)
    await first.startQueue(1, base)
    t.ok(good(await first.run(1, { cdb: TEST_UNIT_READY })))
  }
  t.ok(await beside)
  await t.rejects(first.tellAll({ type: 'detachController', controller: 'scsi0' }), { message: /started queues/ })
})

t.test('memory is replaced between a stop and a start', async (t) => {
  const { medium } = testMedium(t, 'memory', 2 ** 20)
  const threads = [await startThread(t)]
  const rig = await IoRig.start(t, { units: [unitSpec(medium)], threads })
  t.ok(good(await rig.run(0, { cdb: write10(0, 1), dataOut: new Uint8Array(512).fill(9) })))
  await t.rejects(rig.shareMemory(), { message: /started queues/ })
  const { controller } = rig
  for (let i = 0; i < 20; i++) {
    const base = await rig.stopQueue(0)
    await rig.tellAll({ type: 'setMemory', controller, regions: [] })
    await rig.shareMemory()
    await rig.startQueue(0, base)
    const { data } = await rig.run(0, { cdb: read16(0, 1), dataIn: 512 })
    t.ok(data.every((byte) => byte === 9))
  }
})

t.test('a queue that cannot be started is not there', async (t) => {
  const threads = [await startThread(t, { engine: 'epoll' })]
  const rig = await IoRig.start(t, { units: [held(0)], threads })
  const base = await rig.stopQueue(0)
  const space = ownAddressSpace()
  for (let i = 0; i < 50; i++) {
    await t.rejects(rig.startQueue(0, base, { kickFd: 99_999 }), { message: /epoll_ctl: EBADF/ })
  }
  t.ok(ownAddressSpace() - space < 100 * 2 ** 20)
  await rig.startQueue(0, base)
  t.ok(good(await rig.run(0, { cdb: TEST_UNIT_READY })))
})
