import { ERRNO } from 'memfd-mmap'
import t from 'tap'
import { BOUNCE_BYTES, BouncePool } from '../../iothreads/bounce-pool.js'
import type { StepContext, Steps } from '../../iothreads/composite.js'
import { compareAndWritePieces, orWritePieces } from '../../iothreads/read-modify-write.js'
import type { Request } from '../../iothreads/request.js'
import { ACTION, LIMITS } from '../../scsi/index.js'
import { FakeDriver } from '../support/iothreads/fake-driver.js'
import { SegmentRig, scatter, seeded } from '../support/iothreads/request-with.js'
import { rounds } from '../support/iothreads/rounds.js'
import type { Teardown } from '../support/teardown.js'

const SIZE = 3 * BOUNCE_BYTES

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

/** Runs steps to their end, also where the driver keeps them waiting. `meanwhile`: called before each operation ends. */
function run(steps: Steps, driver: FakeDriver, meanwhile: () => void = () => {}): number {
  let value = 0
  for (;;) {
    const next = steps.next(value)
    if (next.done) return next.value
    meanwhile()
    value = driver.finish().result
  }
}

const bytes = (length: number, seed: number): Uint8Array => {
  const random = seeded(seed)
  return Uint8Array.from({ length }, () => random() * 256)
}

/** A request whose data-out is `data`, in pieces. */
function requestOf({ rig }: Bench, data: Uint8Array, count: number, seed: number): Request {
  const segments = scatter(data.length, count, seeded(seed))
  let at = 0
  for (const [offset, length] of segments) {
    rig.bytes.set(data.subarray(at, at + length), offset)
    at += length
  }
  return rig.request(segments)
}

t.test('both halves of the longest COMPARE AND WRITE fit in a private buffer', async (t) => {
  t.ok(2 * LIMITS.COMPARE_BYTES <= BOUNCE_BYTES)
})

for (const pending of [false, true]) {
  const how = pending ? 'later' : 'at once'

  t.test(`compares, and writes or tells the first difference, ${how}`, async (t) => {
    const b = bench(t)
    const { driver, rig } = b
    driver.pending = pending
    const random = seeded(3)
    for (let round = 0; round < rounds(12); round++) {
      const length = 512 * (1 + Math.floor(random() * (LIMITS.COMPARE_BYTES / 512)))
      const offset = 512 * Math.floor(random() * ((SIZE - length) / 512))
      const [before, after] = [bytes(length, round), bytes(length, round + 1000)]
      driver.limit = 1 + Math.floor(random() * length)
      driver.calls.length = 0
      driver.bytes.set(before, offset)
      const difference = round % 3 === 0 ? Math.floor(random() * length) : -1
      if (difference >= 0) {
        driver.bytes[offset + difference]! ^= 1
        driver.bytes[offset + length - 1]! ^= 2
      }
      const medium = driver.bytes.slice()
      const request = requestOf(b, new Uint8Array([...before, ...after]), 1 + Math.floor(random() * 9), round)
      Object.assign(request.task, { action: ACTION.COMPARE_AND_WRITE, offset, length, fua: round % 2 === 0 })
      const result = run(compareAndWritePieces(b, request), driver)
      if (difference < 0) medium.set(after, offset)
      if (result !== (difference < 0 ? 0 : 1 + difference)) t.fail(`${result}, round ${round}`)
      if (Buffer.compare(driver.bytes, medium) !== 0) t.fail(`the medium, round ${round}`)
      const writes = driver.calls.filter((call) => call.write)
      if (writes.some((call) => call.sync !== (round % 2 === 0))) t.fail('durable as asked')
      if ((writes.length === 0) !== difference >= 0) t.fail('something was written, or nothing')
      rig.table.give(request)
    }
    t.pass('all rounds')
  })

  t.test(`sets bits, ${how}`, async (t) => {
    const b = bench(t)
    const { driver, rig } = b
    driver.pending = pending
    const random = seeded(4)
    for (let round = 0; round < rounds(6); round++) {
      const length = 512 * (1 + Math.floor(random() * ((2.5 * BOUNCE_BYTES) / 512)))
      const offset = 512 * Math.floor(random() * ((SIZE - length) / 512))
      driver.limit = round % 2 === 0 ? Number.POSITIVE_INFINITY : 1 + Math.floor(random() * length)
      driver.bytes.set(bytes(SIZE, round))
      const medium = driver.bytes.slice()
      const data = bytes(length, round + 500)
      for (let i = 0; i < length; i++) medium[offset + i]! |= data[i]!
      const request = requestOf(b, data, 1 + Math.floor(random() * 9), round)
      Object.assign(request.task, { action: ACTION.OR_WRITE, offset, length, fua: false })
      if (run(orWritePieces(b, request), driver) !== length) t.fail(`round ${round}`)
      if (Buffer.compare(driver.bytes, medium) !== 0) t.fail(`the medium, round ${round}`)
      rig.table.give(request)
    }
    t.pass('all rounds')
  })
}

t.test('what the guest changes while it is compared is not what is written', async (t) => {
  const b = bench(t)
  b.driver.pending = true
  const request = requestOf(b, new Uint8Array(1024).fill(7, 512), 3, 1)
  Object.assign(request.task, { action: ACTION.COMPARE_AND_WRITE, offset: 0, length: 512 })
  t.equal(
    run(compareAndWritePieces(b, request), b.driver, () => b.rig.bytes.fill(9)),
    0,
  )
  t.ok(b.driver.bytes.subarray(0, 512).every((byte) => byte === 7))
})

t.test('a failed read is one, whatever the command is; so is a failed write', async (t) => {
  const b = bench(t)
  for (const [pieces, action] of [
    [compareAndWritePieces, ACTION.COMPARE_AND_WRITE],
    [orWritePieces, ACTION.OR_WRITE],
  ] as const) {
    for (const [call, expected] of [
      [0, ACTION.READ],
      [1, action],
    ] as const) {
      const request = requestOf(b, new Uint8Array(1024), 1, 1)
      Object.assign(request.task, { action, offset: 0, length: 512 })
      b.driver.calls.length = 0
      b.driver.failures.clear()
      b.driver.failures.set(call, ERRNO.EIO)
      t.equal(run(pieces(b, request), b.driver), -ERRNO.EIO)
      t.equal(request.task.action, expected)
      b.rig.table.give(request)
    }
  }
})

t.test('without a private buffer: try again; and none is kept by what is given up', async (t) => {
  const b = bench(t)
  const taken = []
  for (let bounce = b.pool.take(); bounce !== undefined; bounce = b.pool.take()) taken.push(bounce)
  const request = requestOf(b, new Uint8Array(1024), 1, 1)
  Object.assign(request.task, { action: ACTION.COMPARE_AND_WRITE, offset: 0, length: 512 })
  t.equal(run(compareAndWritePieces(b, request), b.driver), -ERRNO.EAGAIN)
  b.pool.give(taken.pop()!)
  t.equal(run(compareAndWritePieces(b, request), b.driver), -ERRNO.EAGAIN)
  b.pool.give(taken.pop()!)
  b.driver.pending = true
  const steps = compareAndWritePieces(b, request)
  steps.next(0)
  t.equal(b.pool.take(), undefined)
  steps.return(0)
  t.ok(b.pool.take() && b.pool.take())
})
