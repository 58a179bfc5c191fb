import t from 'tap'
import { INFLIGHT_UNUSABLE, inflightStride, SPLIT_REGION, SPLIT_STATE, SplitInflight } from 'vhost-user-protocol-ts'
import { CrashRun } from '../../support/inflight/crash-run.js'
import { NaiveSplitInflight } from '../../support/inflight/naive-split.js'
import { SplitRig } from '../../support/inflight/split-rig.js'
import { times } from '../../support/long.js'
import { Random } from '../../support/random.js'

/** A region by its fields. */
function region(entries: number) {
  const buffer = new SharedArrayBuffer(inflightStride('split', entries))
  const view = new DataView(buffer)
  const u16 = (at: number) => view.getUint16(at, true)
  const state = (head: number) => SPLIT_REGION.DESC + SPLIT_STATE.SIZE * head
  return {
    buffer,
    version: () => u16(SPLIT_REGION.VERSION),
    descNum: () => u16(SPLIT_REGION.DESC_NUM),
    lastBatchHead: () => u16(SPLIT_REGION.LAST_BATCH_HEAD),
    usedIdx: () => u16(SPLIT_REGION.USED_IDX),
    inflight: () => Array.from({ length: entries }, (_, i) => view.getUint8(state(i))).join(''),
    next: (head: number) => u16(state(head) + SPLIT_STATE.NEXT),
    counter: (head: number) => view.getBigUint64(state(head) + SPLIT_STATE.COUNTER, true),
    set: (o: { version?: number; descNum?: number; lastBatchHead?: number; usedIdx?: number }) => {
      if (o.version !== undefined) view.setUint16(SPLIT_REGION.VERSION, o.version, true)
      if (o.descNum !== undefined) view.setUint16(SPLIT_REGION.DESC_NUM, o.descNum, true)
      if (o.lastBatchHead !== undefined) view.setUint16(SPLIT_REGION.LAST_BATCH_HEAD, o.lastBatchHead, true)
      if (o.usedIdx !== undefined) view.setUint16(SPLIT_REGION.USED_IDX, o.usedIdx, true)
    },
    mark: (head: number, counter: bigint, next = 0, inflight = 1) => {
      view.setUint8(state(head), inflight)
      view.setUint16(state(head) + SPLIT_STATE.NEXT, next, true)
      view.setBigUint64(state(head) + SPLIT_STATE.COUNTER, counter, true)
    },
  }
}

const publish = (inflight: SplitInflight): void => {
  inflight.beforePublish()
  inflight.afterPublish()
}

t.test('a fresh region', async (t) => {
  const r = region(4)
  new Uint8Array(r.buffer).fill(0xff)
  r.set({ version: 0 })
  const inflight = new SplitInflight(r.buffer, 4)
  t.equal(inflight.start(0xfff0, 0xfff2), 0)
  t.equal(inflight.base, 0xfff2, 'the front end knows better what was fetched')
  t.same([r.version(), r.descNum(), r.usedIdx(), r.inflight()], [1, 4, 0xfff0, '0000'], 'used_idx is that of the ring')
  t.equal(new DataView(r.buffer).getBigUint64(SPLIT_REGION.FEATURES, true), 0n)
})

t.test('a request from its fetch to its end', async (t) => {
  const r = region(4)
  const inflight = new SplitInflight(r.buffer, 4)
  inflight.start(0xffff)
  inflight.fetch(2)
  inflight.fetch(0)
  inflight.fetch(3)
  t.equal(r.inflight(), '1011')
  t.same([r.counter(2), r.counter(0), r.counter(3)], [0n, 1n, 2n])
  inflight.complete(3)
  inflight.complete(2)
  inflight.beforePublish()
  t.equal(r.lastBatchHead(), 2)
  t.equal(r.next(2), 3)
  t.equal(r.inflight(), '1011', 'until the driver has been told')
  t.equal(r.usedIdx(), 0xffff)
  inflight.afterPublish()
  t.equal(r.inflight(), '1000')
  t.equal(r.usedIdx(), 1, 'over the wrap')
  publish(inflight)
  t.equal(r.usedIdx(), 1, 'no batch, no change')
  inflight.complete(0)
  publish(inflight)
  t.same([r.inflight(), r.usedIdx(), r.lastBatchHead(), r.next(0)], ['0000', 2, 0, 2])
})

t.test('what is in flight is served again in the order of the fetches', async (t) => {
  const r = region(8)
  const first = new SplitInflight(r.buffer, 8)
  first.start(7)
  for (const head of [5, 1, 6, 0]) first.fetch(head)
  first.complete(1)
  publish(first)
  const second = new SplitInflight(r.buffer, 8)
  t.equal(second.start(8, 8), 3)
  t.equal(second.base, 11, 'not what the front end says')
  t.same([...second.heads.slice(0, 3)], [5, 6, 0])
  second.fetch(1)
  const third = new SplitInflight(r.buffer, 8)
  t.equal(third.start(8), 4)
  t.same([...third.heads.slice(0, 4)], [5, 6, 0, 1], 'new ones come after those of the process before')
  t.equal(r.counter(1), 4n)
})

t.test('a batch that the driver has, and the region does not know of', async (t) => {
  const r = region(8)
  r.set({ version: 1, descNum: 8, lastBatchHead: 6, usedIdx: 0xffff })
  r.mark(6, 10n, 2)
  r.mark(2, 11n, 4, 0)
  r.mark(4, 12n, 5)
  r.mark(5, 9n)
  r.mark(0, 2n ** 40n)
  const inflight = new SplitInflight(r.buffer, 8)
  t.equal(inflight.start(2, 2), 2, 'three of them, one of which was cleared already')
  t.same([...inflight.heads.slice(0, 2)], [5, 0])
  t.equal(r.usedIdx(), 2)
  t.equal(r.inflight(), '10000100')
})

t.test('regions that cannot be used, and rings that are others', async (t) => {
  const r = region(4)
  r.set({ version: 2, descNum: 4 })
  t.equal(new SplitInflight(r.buffer, 4).start(0), INFLIGHT_UNUSABLE)
  r.set({ version: 1, descNum: 3 })
  t.equal(new SplitInflight(r.buffer, 4).start(0), INFLIGHT_UNUSABLE)
  r.set({ version: 1, descNum: 4, usedIdx: 100, lastBatchHead: 1 })
  r.mark(1, 0n, 1)
  t.equal(new SplitInflight(r.buffer, 4).start(0), 1, 'more than a ring ahead is no batch')
  t.equal(r.usedIdx(), 0)
})

t.test('the memory is that of the specification carried out step by step', async (t) => {
  const random = new Random(1)
  for (let run = 0; run < times(30); run++) {
    const size = 1 + random.below(9)
    const used = random.below(65536)
    const fast = region(size)
    const naive = region(size)
    const a = new SplitInflight(fast.buffer, size)
    const b = new NaiveSplitInflight(naive.buffer, size, used)
    a.start(used)
    const flying: number[] = []
    for (let step = 0; step < 100; step++) {
      const free = Array.from({ length: size }, (_, i) => i).filter((head) => !flying.includes(head))
      if (random.once(2) && free.length > 0) {
        const head = random.pick(free)
        a.fetch(head)
        b.fetch(head)
        flying.push(head)
      } else {
        for (let n = random.below(3); n > 0 && flying.length > 0; n--) {
          const [head] = flying.splice(random.below(flying.length), 1)
          a.complete(head!)
          b.complete(head!)
        }
        publish(a)
        b.publish()
      }
      if (Buffer.compare(Buffer.from(fast.buffer), Buffer.from(naive.buffer)) !== 0) {
        t.same(Buffer.from(fast.buffer), Buffer.from(naive.buffer), `run ${run}, step ${step}`)
      }
    }
    t.ok(fast.counter(0) < 100n)
  }
})

t.test('killed before each single store', async (t) => {
  for (let seed = 1; seed <= times(4); seed++) {
    const run = (firstKill: number): CrashRun => {
      const random = new Random(seed)
      const rig = new SplitRig(4 << random.below(2), 8 << random.below(2), random.once(2))
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
  for (let seed = 1; seed <= times(300); seed++) {
    const random = new Random(seed)
    const rig = new SplitRig(8, 8 << random.below(2), random.once(2))
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
  for (let run = 0; run < times(300); run++) {
    const size = 8
    const r = region(size)
    const bytes = new Uint8Array(r.buffer)
    random.fill(bytes)
    for (let i = 0; i < size; i++) if (random.once(2)) bytes[SPLIT_REGION.DESC + SPLIT_STATE.SIZE * i] = 1
    r.set({ version: 1, descNum: random.once(4) ? random.below(16) : size, usedIdx: random.below(20) })
    if (random.once(2)) r.set({ lastBatchHead: random.below(size) })
    const inflight = new SplitInflight(r.buffer, size)
    const count = inflight.start(random.below(20))
    if (count === INFLIGHT_UNUSABLE) continue
    const heads = [...inflight.heads.slice(0, count)]
    t.ok(heads.every((head) => head >= 0 && head < size) && new Set(heads).size === count)
    for (let step = 0; step < 40; step++) {
      bytes[random.below(bytes.length)] = random.next()
      // Heads are the driver's: any number, and more than once.
      inflight.fetch(random.once(4) ? random.below(65536) : random.below(size))
      for (let n = random.below(4); n > 0; n--)
        inflight.complete(random.once(4) ? random.below(65536) : random.below(9))
      if (random.once(2)) publish(inflight)
    }
  }
})
