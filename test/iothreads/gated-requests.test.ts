// Requests that wait at the write gate: in one queue without a loop, and in IOThreads.
import t, { type Test } from 'tap'
import { RESPONSE } from 'vhost-user-protocol-ts'
import { CANCEL } from '../../iothreads/request.js'
import { SENSE } from '../../scsi/index.js'
import { within } from '../support/deadline.js'
import { read16, senseCode, synchronizeCache10, TEST_UNIT_READY, write16 } from '../support/iothreads/cdb.js'
import { FakeDriver } from '../support/iothreads/fake-driver.js'
import { DEADLINE, IoRig, startThread } from '../support/iothreads/io-rig.js'
import { QueueRig } from '../support/iothreads/queue-rig.js'
import { testMedium, unitSpec } from '../support/iothreads/units.js'
import type { ScsiResult } from '../support/vhost/scsi-request.js'

const BLOCK = 512
const SIZE = 4 * 2 ** 20

const compareAndWrite = (lba: number, before: number, after: number, byte1 = 0) => {
  const cdb = write16(lba, 1, byte1)
  cdb[0] = 0x89
  return { cdb, dataOut: new Uint8Array(2 * BLOCK).fill(before, 0, BLOCK).fill(after, BLOCK) }
}
const write = (lba: number, byte: number) => ({ cdb: write16(lba, 1), dataOut: new Uint8Array(BLOCK).fill(byte) })
const read = (lba: number) => ({ cdb: read16(lba, 1), dataIn: BLOCK })

interface Bench {
  readonly rig: QueueRig
  readonly driver: FakeDriver
  submit(command: Parameters<QueueRig['submit']>[0]): number
  /** Ends the oldest operation under way. What was answered, by head. */
  finish(): Map<number, ScsiResult>
  /** Carries the queue on to where nothing is under way. All that was answered. */
  rest(): Map<number, ScsiResult>
}

function bench(t: Test, atomicWrites = false): Bench {
  const driver = new FakeDriver(SIZE)
  driver.pending = true
  const { medium: _, ...unit } = unitSpec({ kind: 'null', delayNs: 0 }, { size: SIZE, config: { atomicWrites } })
  const rig = new QueueRig(t, { units: [{ ...unit, driver }] })
  const answers = () => new Map(rig.answers().map(({ head, result }) => [head, result!]))
  const finish: Bench['finish'] = () => {
    const { request, result } = driver.finish()
    rig.queue.execution.completed(request, result)
    rig.turn()
    return answers()
  }
  return {
    rig,
    driver,
    submit: (command) => {
      const head = rig.submit(command)
      rig.turn()
      return head
    },
    finish,
    rest: () => {
      const all = answers()
      while (driver.waiting > 0) for (const [head, answer] of finish()) all.set(head, answer)
      return all
    },
  }
}

t.test('a COMPARE AND WRITE waits for writes that are under way, and later ones for it', async (t) => {
  const { driver, submit, finish, rest } = bench(t)
  const first = submit(write(0, 1))
  const comparing = submit(compareAndWrite(0, 1, 2))
  const second = submit(write(0, 3))
  const reading = submit(read(0))
  const elsewhere = submit(write(2048, 4))
  t.same(
    driver.calls.map((call) => [call.write, call.offset]),
    [
      [true, 0],
      [false, 0],
      [true, 2 ** 20],
    ],
  )
  t.same([...finish().keys()], [first])
  t.equal(driver.calls.length, 4, 'it compares')
  const answers = rest()
  t.same([...answers.keys()].sort(), [comparing, second, reading, elsewhere].sort())
  t.ok([...answers.values()].every(({ status, response }) => status === 0 && response === RESPONSE.OK))
  t.equal(driver.bytes[0], 3)
  t.same(
    driver.calls.slice(3).map((call) => call.write),
    [false, true, true],
  )
})

t.test('reads wait only where there are atomic writes', async (t) => {
  for (const atomic of [false, true]) {
    const { driver, submit, rest } = bench(t, atomic)
    submit(write(0, 0))
    submit(compareAndWrite(0, 0, 2))
    submit(read(0))
    submit({ cdb: synchronizeCache10() })
    submit({ cdb: TEST_UNIT_READY })
    t.equal(driver.waiting, atomic ? 2 : 3)
    t.equal(rest().size, 5)
    t.equal(driver.bytes[0], 2)
  }
})

t.test('many at once are served one after another', async (t) => {
  const { driver, submit, rest } = bench(t)
  const heads = Array.from({ length: 20 }, (_, i) => submit(compareAndWrite(0, i, i + 1)))
  const answers = rest()
  t.same([...answers.keys()], heads)
  t.ok([...answers.values()].every(({ status }) => status === 0))
  t.equal(driver.bytes[0], 20)
})

t.test('a MISCOMPARE and a failure let the next ones in', async (t) => {
  const { driver, submit, rest } = bench(t)
  const heads = [submit(compareAndWrite(0, 7, 8)), submit(write(0, 1)), submit(compareAndWrite(0, 1, 2))]
  driver.failures.set(2, 5)
  const answers = rest()
  t.same(
    heads.map((head) => senseCode(answers.get(head)!.sense)),
    [SENSE.MISCOMPARE_DURING_VERIFY_OPERATION, 0, SENSE.UNRECOVERED_READ_ERROR],
  )
  t.equal(submit(write(0, 9)) >= 0 && rest().size, 1)
})

t.test('what waits is cancelled at once; what is under way lets go when it ends', async (t) => {
  const { rig, driver, submit, finish, rest } = bench(t)
  const first = submit(write(0, 1))
  const waiting = [submit(compareAndWrite(0, 1, 2)), submit(write(0, 3))]
  const cancel = (heads: readonly number[]) => {
    for (const request of rig.queue.matching({ target: 0, lun: 0, tag: null })) {
      // With packed rings the head is the low half.
      if (heads.includes(rig.ring.packed ? request.head & 0xffff : request.head)) request.cancel = CANCEL.ABORTED
    }
    rig.gates.endCancelled((request) => rig.queue.execution.completed(request, -125))
    rig.turn()
    return rig.answers().map(({ head, result }) => [head, result!.response])
  }
  t.same(
    cancel(waiting),
    waiting.map((head) => [head, RESPONSE.ABORTED]),
  )
  t.same([...finish().keys()], [first])
  t.equal(driver.bytes[0], 1)
  const comparing = submit(compareAndWrite(0, 1, 2))
  const late = submit(write(0, 5))
  t.same(cancel([comparing]), [], 'its read is under way')
  t.equal(finish().get(comparing)!.response, RESPONSE.ABORTED)
  t.equal(rest().get(late)!.status, 0)
  t.equal(driver.bytes[0], 5)
})

t.test('in IOThreads: an abort of what waits for another thread does not wait', async (t) => {
  const threads = [await startThread(t), await startThread(t)]
  // Longer than this test.
  const units = [unitSpec({ kind: 'null', delayNs: 100e9 }, { size: SIZE })]
  const rig = await IoRig.start(t, { units, threads })
  const writing = rig.submit(0, { ...write(0, 1), tag: 1 })
  const match = (tag: number) => ({ controller: rig.controller, target: 0, lun: 0, tag: [tag, 0] }) as const
  // It looks into the ring first.
  const query = (i: number, tag: number) => rig.send(i, { type: 'query', ...match(tag) })
  t.equal(await query(0, 1), 1)
  const comparing = rig.submit(1, { ...compareAndWrite(0, 0, 0), tag: 2 })
  const parked = rig.submit(0, { ...write(0, 2), tag: 3 })
  t.equal(await query(1, 2), 1)
  t.equal(await query(0, 3), 1)
  const abort = (i: number, tag: number) => rig.send(i, { type: 'cancel', ...match(tag), reason: CANCEL.ABORTED })
  t.equal(await abort(0, 3), 1)
  t.equal((await parked).response, RESPONSE.ABORTED)
  t.equal(await abort(1, 2), 1)
  t.equal((await comparing).response, RESPONSE.ABORTED)
  t.equal(await abort(0, 1), 1)
  t.equal((await writing).response, RESPONSE.ABORTED)
})

t.test('in IOThreads: a queue that is stopped has what waits end first', async (t) => {
  const threads = [await startThread(t), await startThread(t)]
  const medium = testMedium(t, 'file', SIZE)
  const rig = await IoRig.start(t, { units: [unitSpec(medium.medium, { size: SIZE })], threads })
  for (let round = 0; round < 20; round++) {
    const commands = Array.from({ length: 16 }, (_, i) =>
      rig.submit(i % 2, i % 3 === 0 ? compareAndWrite(0, 0, 0) : write(0, 0)),
    )
    // What it has not fetched is fetched later.
    await rig.startQueue(0, await rig.stopQueue(0))
    const results = await within(DEADLINE, 'answers', Promise.all(commands))
    t.ok(results.every(({ status, response }) => status === 0 && response === RESPONSE.OK))
  }
})
