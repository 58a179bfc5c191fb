import t, { type Test } from 'tap'
import { DESC_F, settledPackedBase } from 'vhost-user-protocol-ts'
import { MainQueue } from '../../../daemon/main-queue.js'
import { MainRing, type MainRingOptions } from '../../support/main-ring.js'
import { packedDriver, restingBase, writeNext } from '../../support/vhost/ring-driver.js'

/** A queue over a packed ring. */
function queueOver(t: Test, options: MainRingOptions = {}) {
  const ring = new MainRing(t, { packed: true, ...options })
  const faults: string[] = []
  const open = (base?: number): MainQueue => {
    const queue = new MainQueue(
      ring.host(base),
      ring.memory,
      () => {},
      (code) => faults.push(code),
    )
    t.teardown(() => queue.close())
    return queue
  }
  return { ring, faults, open, queue: open() }
}

const text = (words: string): Uint8Array => new TextEncoder().encode(words)

for (const eventIdx of [true, false]) {
  t.test(`requests and answers, around the ring, ${eventIdx ? 'by index' : 'by flags'}`, async (t) => {
    // Seven is no power of two, and no multiple of two descriptors.
    const { ring, queue } = queueOver(t, { eventIdx, size: 7 })
    for (let i = 0; i < 30; i++) {
      t.equal(queue.take(), undefined)
      const { head, answer } = ring.add(text(`what ${i}`), 10)
      t.equal(ring.driver.publish(), true, 'it has asked for a kick')
      const request = queue.take()!
      t.equal(request.head, head | (2 << 16), 'the id, and that it takes two descriptors')
      t.equal(Buffer.from(request.readable).toString(), `what ${i}`)
      t.same(request.writable, [{ address: answer, length: 10 }])
      queue.answer(request, text('this'))
      t.same(ring.reap(), [{ head, length: 4 }])
      t.equal(Buffer.from(ring.bytes(answer, 5)).toString('latin1'), 'this\xee', 'and nothing more is written')
      t.equal(ring.calls, 1)
      t.equal(queue.base, restingBase(ring.driver))
    }
  })
}

t.test('answers in another order, and another queue goes on where one stood', async (t) => {
  const { ring, queue, open } = queueOver(t)
  const heads = [0, 1, 2].map((i) => ring.add(text(`${i}`), 1).head)
  ring.driver.publish()
  const requests = [0, 1, 2].map(() => queue.take()!)
  for (const i of [2, 0, 1]) queue.answer(requests[i]!, text('x'))
  t.same(
    ring.reap().map(({ head }) => head),
    [heads[2], heads[0], heads[1]],
  )
  queue.close()
  t.equal(queue.base, restingBase(ring.driver))
  const fourth = ring.add(text('fourth'), 1)
  ring.driver.publish()
  const next = open(queue.base)
  const request = next.take()!
  t.equal(Buffer.from(request.readable).toString(), 'fourth')
  next.answer(request, text('4'))
  t.same(ring.reap(), [{ head: fourth.head, length: 1 }])
})

t.test('a broken ring', async (t) => {
  const { NEXT, WRITE, INDIRECT } = DESC_F
  const breakage: [string, (ring: MainRing) => void][] = [
    ['VUS_RING_INDIRECT_AND_NEXT', ({ driver }) => writeNext(packedDriver(driver), 0, 0x10000, 16, NEXT | INDIRECT)],
    ['VUS_RING_INDIRECT_LENGTH', ({ driver }) => writeNext(packedDriver(driver), 0, 0x10000, 15, INDIRECT)],
    ['VUS_RING_INDIRECT_ADDRESS', ({ driver }) => writeNext(packedDriver(driver), 0, 0, 16, INDIRECT)],
    ['VUS_RING_ADDRESS_RANGE', ({ driver }) => writeNext(packedDriver(driver), 0, 0, 4, 0)],
    [
      'VUS_RING_READABLE_AFTER_WRITABLE',
      ({ driver }) => {
        writeNext(packedDriver(driver), 0, 0x10000, 4, NEXT | WRITE)
        writeNext(packedDriver(driver), 1, 0x10000, 4, 0)
      },
    ],
    [
      'VUS_RING_AVAILABLE_INDEX',
      ({ driver }) => {
        // One after another is valid; together with the one in flight they are more than the ring.
        writeNext(packedDriver(driver), 0, 0x10000, 4, NEXT)
        for (let i = 1; i < 7; i++) writeNext(packedDriver(driver), i, 0x10000, 4, i === 6 ? 0 : NEXT)
      },
    ],
  ]
  for (const [code, act] of breakage) {
    const { ring, queue, faults } = queueOver(t)
    const { head } = ring.add(text('good'), 4)
    ring.driver.publish()
    const good = queue.take()!
    act(ring)
    for (let i = 0; i < 3 && queue.take() !== undefined; i++);
    t.same(faults, [code])
    t.equal(ring.errors, 1, 'the error descriptor is signalled')
    t.equal(queue.take(), undefined, 'nothing is taken any more')
    if (code !== 'VUS_RING_AVAILABLE_INDEX') {
      t.equal(queue.base, settledPackedBase(0x8000) + 2, 'it stands at what broke it')
      queue.answer(good, text('yes'))
      t.same(ring.reap(), [{ head, length: 3 }], 'what was taken is answered')
    }
    queue.close()
  }
})
