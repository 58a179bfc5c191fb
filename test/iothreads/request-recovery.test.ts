// Request queues that go on where another process was killed: what it had in flight is served again, exactly once.
import t, { type Test } from 'tap'
import { CHAIN, CMD_RESPONSE, createChain, DESC_F, INFLIGHT_UNUSABLE, RESPONSE } from 'vhost-user-protocol-ts'
import type { Driver } from '../../iothreads/drivers/driver.js'
import { takeOver } from '../../iothreads/inflight.js'
import { openVirtqueue } from '../../iothreads/open-virtqueue.js'
import { CANCEL, type CancelWaiter } from '../../iothreads/request.js'
import { read10, write10 } from '../support/iothreads/cdb.js'
import { FakeDriver } from '../support/iothreads/fake-driver.js'
import { QueueRig, type QueueRigOptions } from '../support/iothreads/queue-rig.js'
import { unitSpec } from '../support/iothreads/units.js'
import { splitDriver } from '../support/vhost/ring-driver.js'

const SIZE = 2 ** 20

function unit(driver: Driver): QueueRigOptions['units'][number] {
  return { ...unitSpec({ kind: 'null', delayNs: 0 }, { size: SIZE }), driver }
}

function rigWith(t: Test, o: Partial<QueueRigOptions>): { rig: QueueRig; driver: FakeDriver } {
  const driver = new FakeDriver(SIZE)
  driver.pending = true
  return { rig: new QueueRig(t, { units: [unit(driver)], inflight: true, ...o }), driver }
}

/** SIGKILL: what the driver had will never end. */
function kill(rig: QueueRig, driver: FakeDriver): void {
  while (driver.waiting > 0) driver.finish()
  driver.calls.length = 0
  rig.restart()
}

function finish(rig: QueueRig, driver: FakeDriver, count = driver.waiting): void {
  for (let i = 0; i < count; i++) {
    const { request, result } = driver.finish()
    rig.queue.execution.completed(request, result)
  }
}

const blocks = (driver: FakeDriver): number[] => driver.calls.map(({ offset }) => offset / 512)

/** A ring that has more requests than one queue works on at once. */
const LARGE = { size: 2048, indirectEntries: 3, regions: [{ guestAddress: 0, size: 2 ** 26 }] }

/** What a predecessor of another kind does: takes `count` requests, and answers none. */
function takeAll({ spec, guest }: QueueRig, count: number): void {
  const takeover = takeOver(spec)
  if (takeover === null || takeover === INFLIGHT_UNUSABLE) throw new Error('there is no region')
  const virtqueue = openVirtqueue(spec, guest, takeover.base, null)
  const chain = createChain(guest, virtqueue, true)
  if (virtqueue.available() < count) throw new Error('there are not so many')
  for (let i = 0; i < count; i++) {
    const position = virtqueue.fetch()
    chain.start(position)
    while (chain.next() === CHAIN.DESCRIPTOR);
    virtqueue.advance(chain.buffer)
    takeover.inflight.fetch(position, chain.buffer)
  }
}

for (const packed of [false, true]) {
  const kind = packed ? 'packed' : 'split'

  t.test(`what was in flight is served again, in its order, ${kind}`, async (t) => {
    const { rig, driver } = rigWith(t, { packed })
    const heads = [5, 3, 8, 1, 9].map((block) => rig.submit({ cdb: read10(block, 1), dataIn: 512 }))
    rig.turn()
    t.same(blocks(driver), [5, 3, 8, 1, 9])
    // The second and the fourth end, and only the second of them is seen by the driver.
    const [first, second, third, fourth, fifth] = Array.from({ length: 5 }, () => driver.finish())
    rig.queue.execution.completed(second!.request, second!.result)
    rig.queue.publish()
    t.same(
      rig.answers().map(({ head }) => head),
      [heads[1]],
    )
    rig.queue.execution.completed(fourth!.request, fourth!.result)
    t.equal(driver.waiting, 0)
    t.ok(first && third && fifth)

    kill(rig, driver)
    const later = rig.submit({ cdb: read10(77, 1), dataIn: 512 })
    t.equal(rig.queue.busy, 4, 'before they are started')
    t.ok(rig.queue.hasWork())
    t.ok(rig.queue.arm(), 'so it does not go to sleep')
    rig.turn()
    t.same(blocks(driver), [5, 8, 1, 9, 77])
    t.equal(rig.queue.busy, 5)
    finish(rig, driver)
    rig.queue.publish()
    const answers = rig.answers()
    t.same(
      answers.map(({ head }) => head),
      [heads[0], heads[2], heads[3], heads[4], later],
    )
    t.ok(answers.every(({ result, stray }) => result!.response === RESPONSE.OK && stray === 0))
    t.equal(rig.queue.hasWork(), false)

    kill(rig, driver)
    rig.turn()
    t.same(blocks(driver), [], 'all of them have been answered')
    rig.submit({ cdb: read10(6, 1), dataIn: 512 })
    rig.turn()
    finish(rig, driver)
    rig.queue.publish()
    t.equal(rig.answers().length, 1, 'and the ring goes on')
    t.same(rig.faults, [])
  })

  t.test(`killed amid its recovery, ${kind}`, async (t) => {
    const { rig, driver } = rigWith(t, { packed })
    for (let block = 0; block < 12; block++) rig.submit({ cdb: write10(block, 1), dataOut: new Uint8Array(512) })
    rig.turn()
    const order: number[][] = []
    for (let generation = 0; generation < 6; generation++) {
      kill(rig, driver)
      rig.turn()
      order.push(blocks(driver))
      finish(rig, driver, 2)
      rig.queue.publish()
      t.equal(rig.answers().length, 2)
    }
    t.same(
      order,
      [0, 2, 4, 6, 8, 10].map((first) => Array.from({ length: 12 - first }, (_, i) => first + i)),
    )
  })

  t.test(`more than can be worked on at once, ${kind}`, async (t) => {
    const { rig, driver } = rigWith(t, { packed, ...LARGE })
    for (let i = 0; i < 1300; i++) rig.submit({ cdb: read10(i, 1), dataIn: 512 }, {}, 'indirect')
    rig.ring.publish()
    takeAll(rig, 1300)
    rig.restart()
    t.equal(rig.queue.busy, 1300)
    rig.submit({ cdb: read10(1300, 1), dataIn: 512 }, {}, 'indirect')
    rig.turn()
    t.equal(driver.waiting, 1024)
    t.equal(rig.queue.busy, 1300)
    t.equal(rig.queue.hasWork(), false, 'nothing can be started')
    t.equal(rig.queue.arm(), false, 'so nothing keeps it from sleeping')
    finish(rig, driver, 100)
    t.ok(rig.queue.hasWork())
    t.ok(rig.queue.arm())
    rig.turn()
    t.equal(driver.waiting, 1024)
    kill(rig, driver)
    t.equal(rig.queue.busy, 1200, 'killed once more')
    while (rig.queue.busy > 0) {
      rig.turn()
      finish(rig, driver, Math.min(driver.waiting, 100))
    }
    rig.turn()
    finish(rig, driver)
    rig.queue.publish()
    t.equal(rig.answers().length, 1301)
    t.same(
      blocks(driver),
      Array.from({ length: 1201 }, (_, i) => 100 + i),
      'in their order, and then what is new',
    )
  })

  t.test(`a ring that is stopped before all of it is started again, ${kind}`, async (t) => {
    const { rig, driver } = rigWith(t, { packed })
    for (let block = 0; block < 10; block++) rig.submit({ cdb: read10(block, 1), dataIn: 512 })
    rig.turn()
    kill(rig, driver)
    rig.submit({ cdb: read10(50, 1), dataIn: 512 })
    rig.ring.publish()
    rig.queue.stopFetching()
    t.equal(rig.queue.busy, 10)
    t.ok(rig.queue.hasWork())
    rig.turn()
    finish(rig, driver)
    rig.queue.publish()
    t.equal(rig.queue.busy, 0)
    t.equal(rig.answers().length, 10)
    t.same(
      blocks(driver),
      Array.from({ length: 10 }, (_, i) => i),
      'and nothing else',
    )
    rig.restart()
    rig.turn()
    t.same(blocks(driver).slice(10), [50], 'which the next one fetches')
  })

  t.test(`task management finds what has not been started again yet, ${kind}`, async (t) => {
    const { rig, driver } = rigWith(t, { packed })
    const tags = [1, 2, 3, 2]
    for (const [i, tag] of tags.entries()) rig.submit({ cdb: read10(i, 1), dataIn: 512, tag })
    rig.turn()
    kill(rig, driver)
    rig.submit({ cdb: read10(40, 1), dataIn: 512, tag: 2 })
    rig.ring.publish()
    const waiter: CancelWaiter = { count: 0, remaining: 0 }
    rig.queue.sweep({ target: 0, lun: 0, tag: [2, 0] }, CANCEL.ABORTED, waiter)
    t.same(waiter, { count: 3, remaining: 0 })
    t.same(blocks(driver), [0, 2])
    rig.submit({ cdb: read10(41, 1), dataIn: 512, tag: 2 })
    rig.turn()
    t.same(blocks(driver), [0, 2, 41], 'what comes after the function is none of its business')
    finish(rig, driver)
    rig.queue.publish()
    const responses = rig.answers().map(({ result }) => result!.response)
    t.equal(responses.filter((response) => response === RESPONSE.ABORTED).length, 3)
    t.equal(responses.filter((response) => response === RESPONSE.OK).length, 3)
  })

  t.test(`a function waits for what a stopped ring has still to start, ${kind}`, async (t) => {
    const { rig, driver } = rigWith(t, { packed, ...LARGE })
    for (let i = 0; i < 1300; i++) rig.submit({ cdb: read10(i, 1), dataIn: 512, tag: i < 1024 ? 1 : 7 }, {}, 'indirect')
    rig.ring.publish()
    takeAll(rig, 1300)
    rig.restart()
    rig.submit({ cdb: read10(0, 1), dataIn: 512, tag: 7 }, {}, 'indirect')
    rig.turn()
    const waiter: CancelWaiter = { count: 0, remaining: 0 }
    rig.queue.sweep({ target: 0, lun: 0, tag: [7, 0] }, CANCEL.RESET, waiter)
    t.same(waiter, { count: 0, remaining: 1 })
    rig.queue.stopFetching()
    t.same(waiter, { count: 0, remaining: 1 }, 'though nothing new is fetched any more')
    finish(rig, driver, 1)
    rig.turn()
    t.same(waiter, { count: 276, remaining: 0 })
    t.equal(rig.queue.busy, 1023)
    finish(rig, driver)
  })
}

t.test('what is left of a ring that breaks stays noted', async (t) => {
  const { rig, driver } = rigWith(t, {})
  const heads = [1, 2, 3].map((block) => rig.submit({ cdb: read10(block, 1), dataIn: 512 }, {}, 'indirect'))
  const ring = splitDriver(rig.ring)
  rig.turn()
  ring.writeDescriptor(heads[1]!, 2 ** 40, 16, DESC_F.INDIRECT, 0)
  kill(rig, driver)
  rig.turn()
  t.same(rig.faults, [{ code: 'VUS_RING_INDIRECT_ADDRESS', fatal: true }])
  t.equal(rig.queue.busy, 1)
  t.equal(rig.queue.hasWork(), false)
  finish(rig, driver)
  rig.queue.publish()
  t.same(
    rig.answers().map(({ head }) => head),
    [heads[0]],
  )
  ring.writeDescriptor(heads[1]!, ring.indirectTableAddress(heads[1]!), 3 * 16, DESC_F.INDIRECT, 0)
  kill(rig, driver)
  rig.turn()
  t.same(blocks(driver), [2, 3])
  finish(rig, driver)
  rig.queue.publish()
  t.equal(rig.answers().length, 2)
})

t.test('what is no request is answered again', async (t) => {
  const { rig, driver } = rigWith(t, {})
  const { address } = rig.memory.allocate(4096, 64)
  const response = { address, length: CMD_RESPONSE.SIZE, writable: true }
  rig.submitChain([response])
  rig.ring.publish()
  takeAll(rig, 1)
  kill(rig, driver)
  rig.turn()
  t.same(rig.faults, [{ code: 'VUS_REQUEST_HEADER_SHORT', fatal: false }])
  t.equal(rig.answers().length, 1)
  t.equal(rig.queue.busy, 0)
})
