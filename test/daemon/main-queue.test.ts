import { Mapping } from 'memfd-mmap'
import t, { type Test } from 'tap'
import { LOG_PAGE } from 'vhost-user-protocol-ts'
import { MainQueue, type MainRequest } from '../../daemon/main-queue.js'
import { LOG_RANGE_FAULT } from '../../iothreads/index.js'
import { eventually } from '../support/deadline.js'
import { MainRing, type MainRingOptions } from '../support/main-ring.js'
import { splitDriver } from '../support/vhost/ring-driver.js'

const PATIENCE = 20_000

/** A queue over a ring, that counts its kicks and keeps its faults. */
function queueOver(t: Test, options: MainRingOptions = {}) {
  const ring = new MainRing(t, options)
  const state = { kicks: 0, faults: [] as string[] }
  const open = (base = 0): MainQueue => {
    const queue = new MainQueue(
      ring.host(base),
      ring.memory,
      () => {
        state.kicks++
      },
      (code) => state.faults.push(code),
    )
    t.teardown(() => queue.close())
    return queue
  }
  return { ring, state, open, queue: open() }
}

const text = (words: string): Uint8Array => new TextEncoder().encode(words)
const kicked = (state: { kicks: number }, count: number) =>
  eventually(PATIENCE, `${count} kicks`, () => (state.kicks >= count ? true : undefined))

for (const eventIdx of [true, false]) {
  t.test(`requests and answers, ${eventIdx ? 'by index' : 'by flags'}`, async (t) => {
    const { ring, state, queue } = queueOver(t, { eventIdx })
    t.equal(queue.take(), undefined, 'nothing yet')
    const { head, answer } = ring.add(text('what is it'), 10)
    ring.publish()
    await kicked(state, 1)
    const request = queue.take()!
    t.equal(request.head, head)
    t.equal(Buffer.from(request.readable).toString(), 'what is it')
    t.same(request.writable, [{ address: answer, length: 10 }])
    t.equal(queue.base, 1)
    queue.answer(request, text('this'))
    t.same(ring.reap(), [{ head, length: 4 }])
    t.equal(Buffer.from(ring.bytes(answer, 5)).toString('latin1'), 'this\xee', 'and nothing more is written')
    t.equal(ring.calls, 1)
    t.equal(queue.take(), undefined)
    for (let i = 0; i < 30; i++) {
      ring.add(text(`${i}`), 1)
      ring.publish()
      await kicked(state, i + 2)
      const request = queue.take()!
      t.equal(queue.take(), undefined, 'then it asks for the next kick')
      queue.answer(request, new Uint8Array(0))
      t.equal(ring.reap()[0]?.length, 0)
    }
    t.equal(state.kicks, 31)
    t.same(state.faults, [])
  })
}

t.test('what is there before the first kick is found', async (t) => {
  const ring = new MainRing(t)
  ring.add(text('early'), 1)
  ring.driver.publish()
  const queue = new MainQueue(
    ring.host(),
    ring.memory,
    () => {},
    () => {},
  )
  t.equal(Buffer.from(queue.take()!.readable).toString(), 'early')
  queue.close()
})

t.test('a ring without a kick descriptor is looked at by itself', async (t) => {
  const ring = new MainRing(t, { kick: false })
  const found: MainRequest[] = []
  const queue = new MainQueue(
    ring.host(),
    ring.memory,
    () => {
      for (let request = queue.take(); request !== undefined; request = queue.take()) found.push(request)
    },
    () => {},
  )
  t.teardown(() => queue.close())
  for (let i = 1; i <= 3; i++) {
    ring.add(text('x'), 1)
    ring.driver.publish()
    await eventually(PATIENCE, 'the request', () => (found.length === i ? true : undefined))
  }
  t.equal(found.length, 3)
})

t.test('of a long request no more is kept than any has', async (t) => {
  const { ring, queue } = queueOver(t)
  const address = ring.take(4096)
  ring.bytes(address, 4096).fill(7)
  const readable = { address, length: 4096, writable: false }
  const empty = { address, length: 0, writable: true }
  const crumbs = Array.from({ length: 40 }, (_, i) => ({ address: address + 8 * i, length: 1, writable: true }))
  ring.driver.add([readable, readable, empty, ...crumbs, { address, length: 4096, writable: true }], 'indirect')
  ring.driver.publish()
  const request = queue.take()!
  t.equal(request.readable.length, 64)
  t.ok(request.readable.every((byte) => byte === 7))
  t.equal(
    request.writable.reduce((sum, { length }) => sum + length, 0),
    64,
  )
  t.ok(request.writable.every(({ length }) => length > 0))
  queue.answer(request, text('0123456789'))
  t.same(
    ring.reap().map(({ length }) => length),
    [10],
  )
  const written = [...'0123456789'].map((_, i) => String.fromCharCode(ring.bytes(address + 8 * i, 1)[0]!))
  t.equal(written.join(''), '0123456789', 'byte by byte')
})

t.test('an answer that has no room, or no memory', async (t) => {
  const { ring, queue, state } = queueOver(t)
  const { answer } = ring.add(text('a'), 2)
  ring.driver.add([{ address: 16, length: 4, writable: true }])
  ring.driver.publish()
  queue.answer(queue.take()!, text('four'))
  t.equal(ring.reap()[0]?.length, 2, 'as much as fits')
  t.equal(Buffer.from(ring.bytes(answer, 2)).toString(), 'fo')
  queue.answer(queue.take()!, text('four'))
  t.equal(ring.reap()[0]?.length, 0, 'none')
  t.same(state.faults, [])
})

t.test('a broken ring is left alone, but for what was taken from it', async (t) => {
  const breakage: Record<string, [code: string, (ring: MainRing) => void]> = {
    'an available index too far ahead': [
      'VUS_RING_AVAILABLE_INDEX',
      (ring) => splitDriver(ring.driver).publishRaw(splitDriver(ring.driver).availIndex + 9),
    ],
    'a head out of range': [
      'VUS_RING_HEAD_OUT_OF_RANGE',
      (ring) => {
        splitDriver(ring.driver).submitRaw(8)
        ring.driver.publish()
      },
    ],
    'a request that is not in memory': [
      'VUS_RING_ADDRESS_RANGE',
      (ring) => {
        ring.driver.add([{ address: 0, length: 4, writable: false }])
        ring.driver.publish()
      },
    ],
  }
  for (const [name, [code, act]] of Object.entries(breakage)) {
    const { ring, queue, state } = queueOver(t)
    const { head } = ring.add(text('good'), 4)
    ring.driver.publish()
    const good = queue.take()!
    act(ring)
    t.equal(queue.take(), undefined, name)
    t.same(state.faults, [code])
    t.equal(ring.errors, 1, 'the error descriptor is signalled')
    t.equal(queue.base, 1, 'it stands at what broke it')
    splitDriver(ring.driver).publishRaw(1)
    t.equal(queue.take(), undefined, 'nothing is taken any more')
    t.same(state.faults, [code], 'and nothing more is said')
    queue.answer(good, text('yes'))
    t.equal(ring.driver.usedLength[head], 0)
    t.same(ring.reap(), [{ head, length: 3 }], 'what was taken is answered')
    queue.close()
  }
})

t.test('new call and error descriptors', async (t) => {
  const one = queueOver(t)
  const other = new MainRing(t)
  one.queue.setCall(other.callFd)
  one.queue.setErr(other.errFd)
  one.ring.add(text('a'), 1)
  one.ring.driver.publish()
  one.queue.answer(one.queue.take()!, text('b'))
  t.same([one.ring.calls, other.calls], [0, 1])
  one.queue.setCall(-1)
  one.ring.reap()
  one.ring.add(text('a'), 1)
  one.ring.driver.publish()
  one.queue.answer(one.queue.take()!, text('b'))
  t.same([one.ring.calls, other.calls], [0, 0])
  splitDriver(one.ring.driver).publishRaw(100)
  one.queue.take()
  t.same([one.ring.errors, other.errors], [0, 1])
})

t.test('closed, it says and takes nothing, and another goes on where it stood', async (t) => {
  const { ring, queue, open } = queueOver(t)
  ring.add(text('first'), 1)
  ring.add(text('second'), 1)
  ring.driver.publish()
  const first = queue.take()!
  queue.answer(first, text('1'))
  queue.close()
  queue.close()
  t.equal(queue.take(), undefined)
  t.equal(queue.base, 1)
  queue.answer(first, text('again'))
  t.equal(ring.reap().length, 1)
  const next = open(queue.base)
  t.equal(Buffer.from(next.take()!.readable).toString(), 'second')
})

t.test('what is written is logged, if there is a log', async (t) => {
  const ring = new MainRing(t, { size: 64 })
  const mapping = Mapping.anonymous(4096)
  t.teardown(() => mapping.unmap())
  const words = new Int32Array(mapping.view())
  const marked = (): number[] => {
    const pages: number[] = []
    words.forEach((word, i) => {
      for (let bit = 0; bit < 32; bit++) if ((word & (1 << bit)) !== 0) pages.push(32 * i + bit)
    })
    words.fill(0)
    return pages
  }
  const faults: string[] = []
  const open = (base: number, bytes: number, used: number | null): MainQueue => {
    const log = { area: { address: mapping.address, length: bytes }, used }
    const queue = new MainQueue(
      { ...ring.host(base), log },
      ring.memory,
      () => {},
      (code) => faults.push(code),
    )
    t.teardown(() => queue.close())
    return queue
  }
  const page = (address: number): number => Math.floor(address / LOG_PAGE)
  const used = page(ring.driver.usedAddress)
  const request = (): number => {
    ring.take(2 * LOG_PAGE)
    const { answer } = ring.add(text('x'), 16)
    ring.driver.publish()
    return page(answer)
  }

  let queue = open(0, 4096, ring.driver.usedAddress)
  t.equal(queue.take(), undefined)
  t.same(marked(), [used], 'that it asks to be notified')
  const first = request()
  const taken = queue.take()!
  t.same(marked(), [])
  queue.answer(taken, text('yes'))
  t.same(marked(), [used, first], 'the answer, and that it is one')
  queue.close()

  queue = open(1, 4096, null)
  const second = request()
  queue.answer(queue.take()!, text('yes'))
  t.same(marked(), [second], 'the used ring is not to be logged')
  request()
  queue.answer(queue.take()!, new Uint8Array(0))
  t.same(marked(), [], 'an answer of no bytes')
  const outside = { address: 2 ** 40, length: 16, writable: true }
  ring.driver.add([{ address: ring.take(16), length: 16, writable: false }, outside])
  ring.driver.publish()
  queue.answer(queue.take()!, text('yes'))
  t.same([marked(), faults], [[], []], 'what is no memory is not written')
  queue.close()

  queue = open(4, 4, null)
  for (const told of [1, 2]) {
    const beyond = request()
    t.ok(beyond >= 32)
    queue.answer(queue.take()!, text('yes'))
    t.same(faults, Array(told).fill(LOG_RANGE_FAULT), 'a page that the log does not have')
  }
  t.ok(request() > 0)
  t.equal(queue.take()?.readable.length, 1, 'and the ring lives on')
  queue.close()
})
