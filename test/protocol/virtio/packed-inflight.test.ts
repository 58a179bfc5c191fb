import t from 'tap'
import {
  INFLIGHT_UNUSABLE,
  inflightStride,
  PACKED_BASE_NEW,
  PACKED_DESC,
  PACKED_REGION,
  PACKED_STATE,
  PackedInflight,
  packedBuffer,
  packedPosition,
  packedRingBytes,
} from 'vhost-user-protocol-ts'
import { CrashRun } from '../../support/inflight/crash-run.js'
import { NaivePackedInflight } from '../../support/inflight/naive-packed.js'
import { PackedRig } from '../../support/inflight/packed-rig.js'
import { times } from '../../support/long.js'
import { Random } from '../../support/random.js'

/** A region by its fields, and a ring that the test writes itself. */
function bed(size: number, entries = size) {
  const buffer = new SharedArrayBuffer(inflightStride('packed', entries))
  const ring = new SharedArrayBuffer(packedRingBytes(size))
  const view = new DataView(buffer)
  const desc = new DataView(ring)
  const state = (entry: number) => PACKED_REGION.DESC + PACKED_STATE.SIZE * entry
  return {
    buffer,
    ring,
    view,
    create: () => new PackedInflight(buffer, entries, ring, size),
    describe: (index: number, address: bigint, length: number, flags: number, id: number) => {
      desc.setBigUint64(PACKED_DESC.SIZE * index + PACKED_DESC.ADDRESS, address, true)
      desc.setUint32(PACKED_DESC.SIZE * index + PACKED_DESC.LENGTH, length, true)
      desc.setUint16(PACKED_DESC.SIZE * index + PACKED_DESC.FLAGS, flags, true)
      desc.setUint16(PACKED_DESC.SIZE * index + PACKED_DESC.ID, id, true)
    },
    flags: (index: number) => desc.getUint16(PACKED_DESC.SIZE * index + PACKED_DESC.FLAGS, true),
    inflight: () => Array.from({ length: entries }, (_, i) => view.getUint8(state(i))).join(''),
    next: (entry: number) => view.getUint16(state(entry) + PACKED_STATE.NEXT, true),
    counter: (entry: number) => view.getBigUint64(state(entry) + PACKED_STATE.COUNTER, true),
    free: () => [view.getUint16(PACKED_REGION.FREE_HEAD, true), view.getUint16(PACKED_REGION.OLD_FREE_HEAD, true)],
    used: () => [
      view.getUint16(PACKED_REGION.USED_IDX, true),
      view.getUint8(PACKED_REGION.USED_WRAP_COUNTER),
      view.getUint16(PACKED_REGION.OLD_USED_IDX, true),
      view.getUint8(PACKED_REGION.OLD_USED_WRAP_COUNTER),
    ],
    version: () => view.getUint16(PACKED_REGION.VERSION, true),
  }
}

const base = (available: number, used: number): number => available + used * 2 ** 16

t.test('a fresh region', async (t) => {
  const r = bed(4)
  new Uint8Array(r.buffer).fill(0xff)
  r.view.setUint16(PACKED_REGION.VERSION, 0)
  const inflight = r.create()
  t.equal(inflight.start(base(packedPosition(3, 0), 0xffff)), 0)
  t.equal(inflight.base, base(3, 3), 'nothing is in flight: the ring is used as far as it was fetched')
  t.same([r.version(), r.view.getUint16(PACKED_REGION.DESC_NUM, true), r.inflight()], [1, 4, '0000'])
  t.same(r.used(), [3, 0, 3, 0])
  t.same(r.free(), [0, 0])
  t.same([0, 1, 2, 3].map(r.next), [1, 2, 3, 4])
  const none = bed(4)
  t.equal(none.create().start(base(packedPosition(4, 1), 0)), INFLIGHT_UNUSABLE, 'no place in the ring')
  t.equal(none.version(), 0)
})

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

t.test('regions that cannot be used', async (t) => {
  const spoil: [string, (r: ReturnType<typeof bed>) => void][] = [
    ['another version', (r) => r.view.setUint16(PACKED_REGION.VERSION, 2, true)],
    ['another size', (r) => r.view.setUint16(PACKED_REGION.DESC_NUM, 5, true)],
    ['a place that the ring does not have', (r) => r.view.setUint16(PACKED_REGION.USED_IDX, 4, true)],
    ['a wrap counter of 2', (r) => r.view.setUint8(PACKED_REGION.OLD_USED_WRAP_COUNTER, 2)],
    ['a free list in a circle', (r) => r.view.setUint16(PACKED_REGION.DESC + 3 * 32 + PACKED_STATE.NEXT, 2, true)],
    [
      'a free list that meets a chain',
      (r) => r.view.setUint16(PACKED_REGION.DESC + 3 * 32 + PACKED_STATE.NEXT, 0, true),
    ],
    ['a chain of no descriptors', (r) => r.view.setUint16(PACKED_REGION.DESC + PACKED_STATE.NUM, 0, true)],
    ['a chain that is too long', (r) => r.view.setUint16(PACKED_REGION.DESC + PACKED_STATE.NUM, 5, true)],
    ['a chain that meets the free list', (r) => r.view.setUint16(PACKED_REGION.DESC + PACKED_STATE.NUM, 3, true)],
    ['an entry that is neither free nor in a chain', (r) => r.view.setUint8(PACKED_REGION.DESC, 0)],
  ]
  for (const [what, change] of spoil) {
    const r = bed(4)
    const inflight = r.create()
    inflight.start(PACKED_BASE_NEW)
    inflight.fetch(0, packedBuffer(0, 2))
    t.equal(r.create().start(0), 1)
    change(r)
    const before = Buffer.from(r.buffer.slice(0))
    t.equal(r.create().start(0), INFLIGHT_UNUSABLE, what)
    t.same(Buffer.from(r.buffer), before, 'it is left alone')
  }
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
