import t from 'tap'
import { INFLIGHT_UNUSABLE, PACKED_BASE_NEW, packedBuffer, packedPosition } from 'vhost-user-protocol-ts'
import { CrashRun } from '../../support/inflight/crash-run.js'
import { NaivePackedInflight } from '../../support/inflight/naive-packed.js'
import { packedBed as bed } from '../../support/inflight/packed-bed.js'
import { PackedRig } from '../../support/inflight/packed-rig.js'
import { times } from '../../support/long.js'
import { Random } from '../../support/random.js'

const base = (available: number, used: number): number => available + used * 2 ** 16

t.test('a request from its fetch to its end', async (t) => {
  const r = bed(6)
  const inflight = r.create()
  inflight.start(PACKED_BASE_NEW)
  r.describe(0, 0x1234_5678_9abc_def0n, 0xffff_fff0, 0x81, 7)
  r.describe(1, 5n, 6, 0x82, 9)
  r.describe(2, 8n, 9, 0x84, 3)
  t.equal(inflight.fetch(0, packedBuffer(9, 2)), 0)
  t.equal(inflight.fetch(2, packedBuffer(3, 1)), 2)
  t.equal(r.inflight(), '101000')
  t.same([r.counter(0), r.counter(2)], [0n, 1n])
  t.same(r.free(), [3, 3])
  inflight.complete(2)
  inflight.beforePublish()
  t.same(r.free(), [2, 3])
  t.same(r.used(), [1, 1, 0, 1])
  t.equal(r.inflight(), '101000', 'until the driver has been told')
  inflight.afterPublish()
  t.same(r.free(), [2, 2])
  t.same(r.used(), [1, 1, 1, 1])
  t.equal(r.inflight(), '100000')
  t.equal(r.next(2), 3)
  inflight.beforePublish()
  inflight.afterPublish()
  t.same(r.used(), [1, 1, 1, 1], 'no batch, no change')
  const copy = new Int32Array(24)
  t.equal(inflight.restore(0, copy), packedBuffer(9, 2))
  t.same(
    [...copy.subarray(0, 8)].map((word) => word >>> 0),
    [0x9abc_def0, 0x1234_5678, 0xffff_fff0, 0x81_0007, 5, 0, 6, 0x82_0009],
  )
})

t.test('over the end of the ring, and the wrap counters', async (t) => {
  const r = bed(3)
  const inflight = r.create()
  inflight.start(base(packedPosition(2, 1), packedPosition(2, 1)))
  r.describe(2, 1n, 1, 1, 0)
  r.describe(0, 2n, 2, 0, 4)
  const head = inflight.fetch(2, packedBuffer(4, 2))
  const copy = new Int32Array(12)
  inflight.restore(head, copy)
  t.same([copy[0], copy[4]], [1, 2])
  t.equal(inflight.fetch(1, packedBuffer(5, 2)), -1, 'more than the ring holds')
  inflight.complete(head)
  inflight.beforePublish()
  t.same(r.used(), [1, 0, 2, 1])
  inflight.afterPublish()
  t.same(r.used(), [1, 0, 1, 0])
})

t.test('what is in flight is served again in the order of the fetches', async (t) => {
  const r = bed(4, 8)
  const first = r.create()
  first.start(PACKED_BASE_NEW)
  for (let index = 0; index < 4; index++) r.describe(index, BigInt(index), 0, 0x80, index)
  const [a, b, c] = [0, 1, 2].map((index) => first.fetch(index, packedBuffer(index, 1)))
  first.complete(a!)
  first.beforePublish()
  r.describe(0, 0n, 0, 0x8080, 0)
  first.afterPublish()
  const d = first.fetch(3, packedBuffer(3, 1))
  t.equal(d, a, 'an entry that was freed is taken first')
  const second = r.create()
  t.equal(second.start(0), 3)
  t.same([...second.heads.slice(0, 3)], [b, c, d])
  t.equal(second.base, base(packedPosition(0, 0), packedPosition(1, 1)), 'the base of the front end counts for nothing')
  second.complete(c!)
  second.beforePublish()
  r.describe(1, 0n, 0, 0x8080, 2)
  second.afterPublish()
  second.fetch(0, packedBuffer(0, 1))
  t.equal(r.counter(c!), 4n)
})

t.test('the memory is that of the specification carried out step by step', async (t) => {
  const random = new Random(1)
  for (let run = 0; run < times(30); run++) {
    const size = 1 + random.below(9)
    const entries = size + random.below(3)
    const fast = bed(size, entries)
    random.fill(new Uint8Array(fast.ring))
    const naive = bed(size, entries)
    const a = fast.create()
    const b = new NaivePackedInflight(naive.buffer, entries, fast.ring, size)
    a.start(PACKED_BASE_NEW)
    let next = 0
    let held = 0
    const flying: [head: number, count: number][] = []
    for (let step = 0; step < 100; step++) {
      const count = 1 + random.below(3)
      if (random.once(2) && held + count <= size) {
        const head = a.fetch(next, packedBuffer(random.below(65536), count))
        t.equal(head, b.fetch(next, count))
        flying.push([head, count])
        held += count
        next = (next + count) % size
      } else {
        for (let n = random.below(3); n > 0 && flying.length > 0; n--) {
          const [[head, length]] = flying.splice(random.below(flying.length), 1) as [[number, number]]
          a.complete(head)
          b.complete(head)
          held -= length
        }
        a.beforePublish()
        a.afterPublish()
        b.publish()
      }
      if (Buffer.compare(Buffer.from(fast.buffer), Buffer.from(naive.buffer)) !== 0) {
        t.same(Buffer.from(fast.buffer), Buffer.from(naive.buffer), `run ${run}, step ${step}`)
      }
    }
  }
})

t.test('killed before each single store', async (t) => {
  for (let seed = 1; seed <= times(6); seed++) {
    const run = (firstKill: number): CrashRun => {
      const random = new Random(seed)
      const size = 1 + (seed % 6)
      const rig = new PackedRig(size, size + random.below(3), 1 + random.below(size))
      const crash = new CrashRun(random, rig, { weak: false, turns: 30, firstKill, moreKills: false })
      crash.run()
      rig.close()
      return crash
    }
    const { steps } = run(0)
    t.ok(steps > 100, `${steps} steps`)
    for (let kill = 1; kill <= steps; kill++) if (run(kill).kills !== 1) t.fail(`no kill at step ${kill}`)
  }
})

t.test('killed again and again, as the compiler may have it too', async (t) => {
  let kills = 0
  let recovered = 0
  for (let seed = 1; seed <= times(400); seed++) {
    const random = new Random(seed)
    const size = 1 + random.below(9)
    const rig = new PackedRig(size, size + (random.once(2) ? 0 : 3), 1 + random.below(size))
    const crash = new CrashRun(random, rig, { weak: seed % 2 === 0, turns: 60, moreKills: true })
    crash.run()
    rig.close()
    kills += crash.kills
    recovered += crash.recovered
  }
  t.ok(kills > 1000 && recovered > 1000, `${kills} kills, ${recovered} requests served again`)
})

t.test('a region of garbage, and one that changes all the time', async (t) => {
  const random = new Random(3)
  let usable = 0
  for (let run = 0; run < times(400); run++) {
    const size = 6
    const r = bed(size)
    const bytes = new Uint8Array(r.buffer)
    const first = r.create()
    first.start(PACKED_BASE_NEW)
    for (let index = 0; index < 5; index += 2) first.fetch(index, packedBuffer(0, 1 + random.below(2)))
    for (let n = random.below(3); n > 0; n--) bytes[random.below(bytes.length)] = random.below(8)
    if (random.once(10)) random.fill(bytes)
    random.fill(new Uint8Array(r.ring))
    const inflight = r.create()
    const count = inflight.start(PACKED_BASE_NEW)
    if (count === INFLIGHT_UNUSABLE) continue
    usable++
    const flying = [...inflight.heads.slice(0, count)]
    t.ok(flying.every((head) => head >= 0 && head < size) && new Set(flying).size === count)
    const copy = new Int32Array(4 * size)
    for (let step = 0; step < 40; step++) {
      bytes[random.below(bytes.length)] = random.next()
      for (const head of flying) {
        const buffer = inflight.restore(head, copy)
        const descriptors = buffer >>> 16
        const more = Array.from({ length: descriptors }, (_, i) => ((copy[4 * i + 3]! >>> 16) & 1) === 1)
        t.strictSame(more, [...Array(descriptors - 1).fill(true), false], 'as many descriptors as it had')
      }
      const head = inflight.fetch(random.below(size), packedBuffer(random.below(65536), 1 + random.below(size)))
      if (head >= 0) flying.push(head)
      for (let n = random.below(3); n > 0 && flying.length > 0; n--) inflight.complete(flying.pop()!)
      inflight.beforePublish()
      inflight.afterPublish()
    }
  }
  t.ok(usable > 50, `${usable} regions were usable`)
})
