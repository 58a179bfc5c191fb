import assert from 'node:assert/strict'
import { ERRNO } from 'memfd-mmap'
import t from 'tap'
import { PENDING } from '../../iothreads/block-io.js'
import { BOUNCE_BYTES, BouncePool } from '../../iothreads/bounce-pool.js'
import {
  comparePieces,
  copyPieces,
  fillRange,
  patternPieces,
  type StepContext,
  type Steps,
  transferPieces,
  verifyPieces,
  zeroPieces,
  zeroRange,
} from '../../iothreads/composite.js'
import { FakeDriver } from '../support/iothreads/fake-driver.js'
import { SegmentRig, scatter, seeded } from '../support/iothreads/request-with.js'
import { rounds } from '../support/iothreads/rounds.js'
import type { Teardown } from '../support/teardown.js'

const SIZE = 4 * BOUNCE_BYTES

interface Bench extends StepContext {
  driver: FakeDriver
  rig: SegmentRig
}

function bench(t: Teardown): Bench {
  const pool = new BouncePool()
  t.teardown(() => pool.release())
  const rig = new SegmentRig(t, 2 * SIZE)
  return { driver: new FakeDriver(SIZE), table: rig.table, pool, rig }
}

/** Runs steps to their end, also where the driver keeps them waiting. */
function run(steps: Steps, driver: FakeDriver): number {
  let value = 0
  for (;;) {
    const next = steps.next(value)
    if (next.done) return next.value
    if (driver.waiting !== 1) throw new Error(`${driver.waiting} operations at once`)
    value = driver.finish().result
  }
}

const bytes = (length: number, seed: number): Uint8Array => {
  const random = seeded(seed)
  return Uint8Array.from({ length }, () => random() * 256)
}

for (const pending of [false, true]) {
  const how = pending ? 'later' : 'at once'

  t.test(`transfers piece by piece, ${how}`, async (t) => {
    const { driver, rig, ...context } = bench(t)
    driver.pending = pending
    const random = seeded(5)
    for (let round = 0; round < rounds(40); round++) {
      const length = 1 + Math.floor(random() * 20_000)
      const guestOffset = round % 3 === 0 ? 0 : Math.floor(random() * 5000)
      const offset = Math.floor(random() * (SIZE - length))
      const moved = round % 2 === 0 ? 0 : Math.floor(random() * length)
      driver.limit = 1 + Math.floor(random() * 9000)
      driver.calls.length = 0
      const segments = scatter(guestOffset + length, 1 + Math.floor(random() * 20), random)
      rig.bytes.set(bytes(60_000, round))
      driver.bytes.set(bytes(length, round + 1000), offset)
      const medium = driver.bytes.slice()
      const isWrite = random() < 0.5
      const request = isWrite ? rig.request(segments) : rig.request([], segments)
      Object.assign(request.task, { offset, length, guestOffset, fua: round % 5 === 0 })
      const guest = rig.content(segments)
      assert.equal(run(transferPieces({ driver, ...context }, request, isWrite, moved), driver), length)
      assert.ok(driver.calls.every((call) => call.write === isWrite && call.sync === (round % 5 === 0)))
      const first = guestOffset + moved
      const expected = isWrite ? medium : guest
      if (isWrite) medium.set(guest.subarray(first, guestOffset + length), offset + moved)
      else guest.set(medium.subarray(offset + moved, offset + length), first)
      assert.equal(Buffer.compare(isWrite ? driver.bytes : rig.content(segments), expected), 0, `round ${round}`)
      rig.table.give(request)
    }
  })

  t.test(`compares, ${how}`, async (t) => {
    const { driver, rig, ...context } = bench(t)
    driver.pending = pending
    const random = seeded(6)
    const lengths = [1, 2, 512, BOUNCE_BYTES - 1, BOUNCE_BYTES, BOUNCE_BYTES + 1, 2 * BOUNCE_BYTES + 777]
    for (const length of lengths) {
      const guestOffset = Math.floor(random() * 600)
      const offset = Math.floor(random() * 1000)
      const segments = scatter(guestOffset + length, 200, random)
      driver.bytes.set(bytes(length, length), offset)
      let at = -guestOffset
      for (const [start, size] of segments) {
        for (let i = 0; i < size; i++, at++) rig.bytes[start + i] = at < 0 ? 0xee : driver.bytes[offset + at]!
      }
      const request = rig.request(segments)
      Object.assign(request.task, { offset, length, guestOffset })
      const compare = (): number => run(comparePieces({ driver, ...context }, request), driver)
      t.equal(compare(), 0)
      const places = new Set([
        0,
        length - 1,
        BOUNCE_BYTES - 1,
        BOUNCE_BYTES,
        ...Array.from({ length: 30 }, () => Math.floor(random() * length)),
      ])
      for (const place of places) {
        if (place >= length) continue
        driver.bytes[offset + place]! ^= 0x10
        // A later difference changes nothing.
        if (place + 1 < length) driver.bytes[offset + length - 1]! ^= 0x01
        assert.equal(compare(), place + 1)
        if (place + 1 < length) driver.bytes[offset + length - 1]! ^= 0x01
        driver.bytes[offset + place]! ^= 0x10
      }
      driver.limit = 1000
      t.equal(compare(), 0, 'read in parts')
      driver.limit = Number.POSITIVE_INFINITY
      rig.table.give(request)
    }
  })

  t.test(`copies, ${how}`, async (t) => {
    const { driver, rig, ...context } = bench(t)
    driver.pending = pending
    const random = seeded(7)
    const lengths = [0, 1, 512, BOUNCE_BYTES - 1, BOUNCE_BYTES, 2 * BOUNCE_BYTES + 777, 3 * BOUNCE_BYTES]
    for (const length of lengths) {
      for (let round = 0; round < 6; round++) {
        driver.limit = round === 0 ? 100_000 : Number.POSITIVE_INFINITY
        const sourceOffset = Math.floor(random() * (SIZE - length))
        // Now and then a little before or behind the source
        const near = Math.min(SIZE - length, Math.max(0, sourceOffset + Math.floor((random() - 0.5) * 2000)))
        const offset = round % 2 === 0 ? Math.floor(random() * (SIZE - length)) : near
        driver.bytes.set(bytes(SIZE, round))
        const expected = driver.bytes.slice()
        expected.copyWithin(offset, sourceOffset, sourceOffset + length)
        const request = rig.request([])
        Object.assign(request.task, { offset, length })
        assert.equal(run(copyPieces({ driver, ...context }, request, driver, sourceOffset), driver), length)
        assert.equal(Buffer.compare(driver.bytes, expected), 0, `${length} bytes from ${sourceOffset} to ${offset}`)
        rig.table.give(request)
      }
    }
    driver.failures.set(driver.calls.length + 1, ERRNO.EIO)
    const request = rig.request([])
    Object.assign(request.task, { offset: 0, length: 512 })
    t.equal(run(copyPieces({ driver, ...context }, request, driver, 4096), driver), -ERRNO.EIO)
    t.match(driver.calls.at(-1), { operation: 'buffer', write: true, offset: 0, length: 512 })
    rig.table.give(request)
  })

  t.test(`fills, ${how}`, async (t) => {
    const { driver, rig, ...context } = bench(t)
    driver.pending = pending
    for (const [pattern, length] of [
      [1, 10],
      [3, BOUNCE_BYTES + 5],
      [4096, 2 * BOUNCE_BYTES],
      [500, 100],
    ] as const) {
      driver.bytes.fill(0xee)
      const request = rig.request([])
      Object.assign(request.task, { offset: 7, length })
      const source = bytes(pattern, pattern)
      assert.equal(run(fillRange({ driver, ...context }, request, source), driver), length)
      const expected = Uint8Array.from(driver.bytes, (_, i) =>
        i < 7 || i >= 7 + length ? 0xee : source[(i - 7) % pattern]!,
      )
      assert.equal(Buffer.compare(driver.bytes, expected), 0, `${pattern} over ${length}`)
      rig.table.give(request)
    }
  })

  t.test(`verifies, ${how}`, async (t) => {
    const { driver, rig, ...context } = bench(t)
    driver.pending = pending
    for (const length of [1, 512, BOUNCE_BYTES, BOUNCE_BYTES + 1, SIZE]) {
      const request = rig.request([])
      Object.assign(request.task, { offset: SIZE - length, length })
      driver.calls.length = 0
      t.equal(run(verifyPieces({ driver, ...context }, request), driver), 0)
      t.equal(
        driver.calls.reduce((sum, call) => sum + call.length, 0),
        length,
      )
      t.ok(driver.calls.every((call) => !call.write && call.length <= BOUNCE_BYTES))
      rig.table.give(request)
    }
    const request = rig.request([])
    Object.assign(request.task, { offset: SIZE - 100, length: 101 })
    t.equal(run(verifyPieces({ driver, ...context }, request), driver), -ERRNO.EIO, 'behind the end')
  })

  t.test(`writes a pattern, ${how}`, async (t) => {
    const { driver, rig, ...context } = bench(t)
    driver.pending = pending
    const random = seeded(7)
    for (const patternLength of [1, 3, 512, 520, 4096, 4160]) {
      for (const times of [
        1,
        2,
        3,
        100,
        Math.floor(BOUNCE_BYTES / patternLength),
        Math.floor((2.5 * BOUNCE_BYTES) / patternLength),
      ]) {
        const segments = scatter(patternLength + 50, 1 + Math.floor(random() * 6), random)
        rig.bytes.set(bytes(10_000, patternLength))
        const pattern = rig.content(segments).subarray(0, patternLength)
        const length = times * patternLength
        const offset = 1 + Math.floor(random() * 5000)
        const request = rig.request(segments)
        Object.assign(request.task, { offset, length, patternLength, fua: times === 3 })
        driver.bytes.fill(0xee)
        driver.calls.length = 0
        assert.equal(run(patternPieces({ driver, ...context }, request), driver), length)
        const expected = new Uint8Array(SIZE).fill(0xee)
        for (let i = 0; i < times; i++) expected.set(pattern, offset + i * patternLength)
        assert.equal(Buffer.compare(driver.bytes, expected), 0, `${times} times ${patternLength}`)
        assert.ok(driver.calls.every((call) => call.sync === (times === 3)))
        rig.table.give(request)
      }
    }
  })

  t.test(`zeroes a range, ${how}: by deallocation, by zeroing, by writing`, async (t) => {
    const { driver, rig, ...context } = bench(t)
    driver.pending = pending
    const cases = [
      { deallocates: true, unmap: true, fua: false, operations: ['discard'] },
      { deallocates: true, unmap: false, fua: false, operations: ['zero'] },
      { deallocates: true, unmap: true, fua: true, operations: ['discard', 'flush'] },
      { deallocates: true, unmap: false, fua: true, operations: ['zero', 'flush'] },
      { deallocates: false, unmap: true, fua: false, operations: ['discard', 'buffer', 'buffer'] },
      { deallocates: false, unmap: false, fua: true, operations: ['zero', 'buffer', 'buffer'] },
    ]
    for (const { deallocates, unmap, fua, operations } of cases) {
      driver.deallocates = deallocates
      driver.bytes.fill(0xee)
      driver.calls.length = 0
      const request = rig.request([])
      const length = BOUNCE_BYTES + 512
      Object.assign(request.task, { offset: 1024, length, fua })
      t.ok(run(zeroRange({ driver, ...context }, request, unmap), driver) >= 0)
      t.strictSame(
        driver.calls.map((call) => call.operation),
        operations,
      )
      t.ok(driver.calls.every((call) => call.operation !== 'buffer' || call.sync === fua))
      t.ok(driver.bytes.every((byte, i) => byte === (i >= 1024 && i < 1024 + length ? 0 : 0xee)))
      rig.table.give(request)
    }
    const request = rig.request([])
    Object.assign(request.task, { offset: 0, length: 512, fua: true })
    for (const [failing, errno] of [
      [0, ERRNO.EIO],
      [1, ERRNO.ENOSPC],
    ] as const) {
      driver.deallocates = true
      driver.calls.length = 0
      driver.failures.set(failing, errno)
      t.equal(run(zeroRange({ driver, ...context }, request, true), driver), -errno)
      t.equal(driver.calls.length, failing + 1)
      driver.failures.clear()
    }
  })

  t.test(`zeros after a pattern are zeros, ${how}`, async (t) => {
    const { driver, rig, ...context } = bench(t)
    driver.pending = pending
    rig.bytes.fill(0x77, 0, 512)
    const same = rig.request([[0, 512]])
    Object.assign(same.task, { offset: 0, length: BOUNCE_BYTES, patternLength: 512 })
    run(patternPieces({ driver, ...context }, same), driver)
    const zero = rig.request([])
    Object.assign(zero.task, { offset: 512, length: BOUNCE_BYTES - 512 })
    t.equal(run(zeroPieces({ driver, ...context }, zero), driver), BOUNCE_BYTES - 512)
    t.ok(driver.bytes.every((byte, i) => byte === (i < 512 ? 0x77 : 0)))
  })
}

t.test('each error ends the steps, and the bounce buffer is given back', async (t) => {
  const { driver, rig, ...context } = bench(t)
  const bounce = context.pool.take()!
  context.pool.give(bounce)
  const operations: [string, (request: ReturnType<SegmentRig['request']>) => Steps][] = [
    ['compare', (request) => comparePieces({ driver, ...context }, request)],
    ['verify', (request) => verifyPieces({ driver, ...context }, request)],
    ['pattern', (request) => patternPieces({ driver, ...context }, request)],
    ['zero', (request) => zeroPieces({ driver, ...context }, request)],
  ]
  const length = 3 * BOUNCE_BYTES
  const request = rig.request([[0, length]])
  Object.assign(request.task, { offset: 0, length, guestOffset: 0, patternLength: 512 })
  for (const [name, start] of operations) {
    for (let failing = 0; failing < 3; failing++) {
      driver.calls.length = 0
      driver.failures.set(failing, ERRNO.ENXIO)
      t.equal(run(start(request), driver), -ERRNO.ENXIO, name)
      t.equal(driver.calls.length, failing + 1)
      driver.failures.clear()
      t.equal(context.pool.take(), bounce)
      context.pool.give(bounce)
    }
    // Ended from outside while an operation is under way, or before the first one.
    driver.pending = true
    for (const started of [true, false]) {
      const steps = start(request)
      if (started) {
        t.equal(steps.next(0).done, false)
        t.not(context.pool.take(), bounce, 'in use')
      }
      t.equal(steps.return(PENDING).done, true)
      if (started) driver.finish()
      t.equal(context.pool.take(), bounce, `${name}: given back`)
      context.pool.give(bounce)
    }
    driver.pending = false
  }
})
