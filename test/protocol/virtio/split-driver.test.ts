import fc from 'fast-check'
import t from 'tap'
import { type ChainSegment, type ChainStyle, SplitDriver, splitRingLayout, UsedRingError } from 'vhost-user-protocol-ts'
import { PlainDevice } from '../../support/vhost/plain-device.js'

const GUEST = 0x1_2345_6000

function ring(size: number, o: { eventIdx?: boolean; indirectEntries?: number; byteOffset?: number } = {}) {
  const byteOffset = o.byteOffset ?? 64
  const buffer = new ArrayBuffer(byteOffset + splitRingLayout(size, o.indirectEntries).bytes)
  const driver = new SplitDriver({ size, buffer, guestAddress: GUEST + byteOffset, ...o, byteOffset })
  return { driver, device: new PlainDevice(driver, buffer, GUEST, o.eventIdx ?? false) }
}

const seg = (address: number, length: number, writable = false): ChainSegment => ({ address, length, writable })

t.test('the parts of a ring are aligned and do not overlap', async (t) => {
  for (let size = 1; size <= 32768; size *= 2) {
    const l = splitRingLayout(size, 3)
    t.equal(l.desc % 16 || l.avail % 2 || l.used % 4 || l.indirect % 16, 0, `alignment of ring ${size}`)
    t.ok(l.avail >= 16 * size && l.used >= l.avail + 6 + 2 * size && l.indirect >= l.used + 6 + 8 * size)
    t.equal(l.bytes, l.indirect + size * 3 * 16)
  }
})

t.test('refuses rings and areas that virtio does not know', async (t) => {
  const buffer = new ArrayBuffer(4096)
  for (const size of [0, 3, 65536, 1.5]) {
    t.throws(() => new SplitDriver({ size, buffer, byteOffset: 0, guestAddress: 0 }), RangeError)
  }
  t.throws(() => new SplitDriver({ size: 4, buffer, byteOffset: 8, guestAddress: 0 }), RangeError)
  t.throws(() => new SplitDriver({ size: 4, buffer, byteOffset: 0, guestAddress: 4 }), RangeError)
})

t.test('a chain reads back in each style', async (t) => {
  const { driver, device } = ring(8, { indirectEntries: 4 })
  const segments = [seg(0x1000, 51), seg(0xf_ffff_f000, 108, true), seg(0x7fff_ffff_ffff, 4096, true)]
  const styles: ChainStyle[] = ['direct', 'indirect', 'mixed']
  const needs = { direct: 3, indirect: 1, mixed: 2 }
  for (const style of styles) {
    const free = driver.freeDescriptors
    const head = driver.add(segments, style)
    t.equal(free - driver.freeDescriptors, needs[style], `${style} descriptors`)
    t.equal(driver.publish(), true)
    const chain = device.fetch()
    t.same(chain, { head, segments }, style)
    device.complete(head, 77)
    const heads = new Int32Array(8)
    t.equal(driver.pending, 1)
    t.equal(driver.reap(heads), 1)
    t.equal(heads[0], head)
    t.equal(driver.usedLength[head], 77)
    driver.release(head)
    t.equal(driver.freeDescriptors, free)
  }
})

t.test('refuses chains that do not fit or break the order', async (t) => {
  const { driver } = ring(4, { indirectEntries: 2 })
  t.throws(() => driver.prepare([]), RangeError)
  t.throws(() => driver.prepare([seg(0, 1, true), seg(0, 1)]), RangeError)
  t.throws(() => driver.prepare([seg(0, 1), seg(0, 1), seg(0, 1)], 'indirect'), RangeError)
  t.throws(() => driver.prepare([1, 2, 3, 4, 5].map((n) => seg(n, 1))), RangeError)
  const head = driver.add([seg(0, 1), seg(1, 1), seg(2, 1)])
  t.throws(() => driver.prepare([seg(0, 1), seg(1, 1)]), RangeError, 'one descriptor is left')
  t.throws(() => driver.release(head), RangeError, 'in flight')
  t.throws(() => driver.release(3), RangeError, 'heads nothing')
})

t.test('EVENT_IDX: notifies exactly when the index passes avail_event', async (t) => {
  const { driver, device } = ring(4, { eventIdx: true })
  const head = driver.prepare([seg(0, 1)])
  const heads = new Int32Array(4)
  for (let i = 0; i < 70000; i += 1) {
    const wants = i % 3 === 0
    // avail_event = the index of the entry whose arrival shall be told; far away when nothing shall.
    device.setAvailEvent(wants ? i : i + 0x4000)
    driver.submit(head)
    if (driver.publish() !== wants) t.fail(`entry ${i}: notified ${!wants}`)
    device.fetch()
    device.complete(head, 0)
    driver.reap(heads)
  }
  t.equal(driver.availIndex, 70000 & 0xffff)
  device.setAvailEvent(driver.availIndex + 1)
  driver.submit(head)
  driver.submit(driver.prepare([seg(0, 1)]))
  t.equal(driver.publish(), true, 'a batch that jumps over the event')
  t.equal(driver.publish(), false, 'nothing new')
})

t.test('without EVENT_IDX used.flags decides', async (t) => {
  const { driver, device } = ring(4)
  driver.add([seg(0, 1)])
  device.setUsedFlags(1)
  t.equal(driver.publish(), false)
  driver.add([seg(0, 1)])
  device.setUsedFlags(0)
  t.equal(driver.publish(), true)
})

t.test('interrupts are asked for and suppressed', async (t) => {
  for (const eventIdx of [false, true]) {
    const { driver, device } = ring(4, { eventIdx })
    const head = driver.prepare([seg(0, 1)])
    const heads = new Int32Array(4)
    driver.disableInterrupts()
    let interrupts = 0
    const once = () => {
      driver.submit(head)
      driver.publish()
      device.fetch()
      device.complete(head, 0)
      if (device.wantsInterrupt()) interrupts++
      driver.reap(heads)
    }
    for (let i = 0; i < 140000; i++) once()
    t.equal(interrupts, 0, 'none over two wraps of the index')
    t.equal(driver.enableInterrupts(), false)
    once()
    t.equal(interrupts, 1)
    driver.submit(head)
    driver.publish()
    device.fetch()
    device.complete(head, 0)
    t.equal(driver.enableInterrupts(), true, 'a completion was already there')
  }
})

t.test('a device that lies is found out', async (t) => {
  const heads = new Int32Array(8)
  const { driver, device } = ring(8)
  device.complete(0, 0)
  t.throws(() => driver.reap(heads), UsedRingError, 'nothing was submitted')
  t.throws(() => driver.pending, { code: 'VUS_USED_RING' })
  for (const id of [5, 8, 0xffff_ffff]) {
    const { driver, device } = ring(8)
    driver.add([seg(0, 1)])
    driver.publish()
    device.complete(id, 0)
    t.throws(() => driver.reap(heads), UsedRingError, `id ${id}`)
  }
  {
    const { driver, device } = ring(8)
    const head = driver.add([seg(0, 1)])
    driver.add([seg(0, 1)])
    driver.publish()
    device.complete(head, 0)
    device.complete(head, 0)
    t.throws(() => driver.reap(heads), UsedRingError, 'completed twice')
  }
})

t.test('reap takes what fits and leaves the rest', async (t) => {
  const { driver, device } = ring(8)
  const sent = [0, 1, 2, 3, 4].map(() => driver.add([seg(0, 1)]))
  driver.publish()
  for (const head of [...sent].reverse()) device.complete(head, 0)
  const heads = new Int32Array(2)
  const seen: number[] = []
  for (let n = driver.reap(heads); n > 0; n = driver.reap(heads)) seen.push(...heads.subarray(0, n))
  t.same(seen, [...sent].reverse())
  t.equal(driver.outstanding, 0)
})

t.test('reset makes a fresh ring', async (t) => {
  const { driver, device } = ring(4)
  driver.add([seg(0, 1), seg(1, 1)])
  driver.publish()
  driver.reset()
  t.equal(driver.freeDescriptors, 4)
  t.equal(driver.availIndex, 0)
  t.equal(driver.deviceUsedIndex, 0)
  const head = driver.add([seg(9, 9)])
  driver.publish()
  t.same(device.fetch(), { head, segments: [seg(9, 9)] })
})

t.test('raw access writes what no driver should', async (t) => {
  const { driver, device } = ring(4, { indirectEntries: 2 })
  driver.writeDescriptor(1, 0xffff_ffff_f000, 0xffff_ffff, 0xffff, 0xfffe)
  t.same(device.descriptor(1), { address: 0xffff_ffff_f000n, length: 0xffff_ffff, flags: 0xffff, next: 0xfffe })
  t.throws(() => driver.writeIndirectDescriptor(0, 2, 0, 0, 0, 0), RangeError)
  driver.submitRaw(0xabcd)
  driver.publishRaw(0x1_fffe)
  t.equal(device.availIndex, 0xfffe)
  t.equal(device.availEntry(0), 0xabcd)
})

t.test('property: any mix of chains comes back whole, in any order of completion', async (t) => {
  const step = fc.record({
    style: fc.constantFrom<ChainStyle>('direct', 'indirect', 'mixed'),
    segments: fc
      .array(fc.tuple(fc.nat({ max: 2 ** 47 - 1 }), fc.nat({ max: 0xffff_ffff }), fc.boolean()), {
        minLength: 1,
        maxLength: 5,
      })
      .map((list) => list.map(([a, l, w]) => seg(a, l, w)).sort((a, b) => Number(a.writable) - Number(b.writable))),
    publish: fc.boolean(),
    complete: fc.nat({ max: 4 }),
    pick: fc.nat(),
  })
  const property = fc.property(
    fc.constantFrom(8, 16),
    fc.boolean(),
    fc.array(step, { maxLength: 60 }),
    (size, eventIdx, steps) => {
      const { driver, device } = ring(size, { eventIdx, indirectEntries: 5 })
      const model = new Map<number, ChainSegment[]>()
      const held: number[] = []
      const heads = new Int32Array(size)
      let free = size
      const cost = new Map<number, number>()
      const drain = () => {
        for (let chain = device.fetch(); chain !== undefined; chain = device.fetch()) {
          if (JSON.stringify(chain.segments) !== JSON.stringify(model.get(chain.head))) throw new Error('chain differs')
          held.push(chain.head)
        }
      }
      for (const s of steps) {
        const n = s.segments.length
        const need = s.style === 'direct' ? n : s.style === 'indirect' ? 1 : n > 1 ? 2 : 1
        if (need > free) {
          let refused = false
          try {
            driver.prepare(s.segments, s.style)
          } catch (error) {
            refused = error instanceof RangeError
          }
          if (!refused) throw new Error('took more than is free')
        } else {
          const head = driver.add(s.segments, s.style)
          if (model.has(head)) throw new Error('head in use twice')
          model.set(head, s.segments)
          cost.set(head, need)
          free -= need
        }
        if (s.publish) {
          driver.publish()
          drain()
        }
        for (let i = 0; i < s.complete && held.length > 0; i++) {
          const [head] = held.splice(s.pick % held.length, 1)
          device.complete(head!, head! * 3)
        }
        const count = driver.reap(heads)
        for (let i = 0; i < count; i++) {
          const head = heads[i]!
          if (driver.usedLength[head] !== head * 3) throw new Error('length differs')
          if (!model.delete(head)) throw new Error('completed what was not in flight')
          free += cost.get(head)!
          driver.release(head)
        }
        if (driver.freeDescriptors !== free) throw new Error('free descriptors differ')
        if (driver.outstanding !== model.size) throw new Error('outstanding differs')
      }
      return true
    },
  )
  fc.assert(property, { numRuns: 300 })
  t.pass('300 runs')
})
