import fc from 'fast-check'
import t from 'tap'
import {
  type ChainSegment,
  PACKED_EVENT_F,
  type PackedChainStyle,
  PackedDriver,
  packedPosition,
  packedRingLayout,
  UsedRingError,
} from 'vhost-user-protocol-ts'
import { times } from '../../support/long.js'
import { PlainPackedDevice, PlainParts, setEvent } from '../../support/vhost/plain-packed.js'

const GUEST = 0x1_2345_6000
const { DISABLE, DESC } = PACKED_EVENT_F

function ring(size: number, o: { eventIdx?: boolean; indirectEntries?: number; byteOffset?: number } = {}) {
  const byteOffset = o.byteOffset ?? 64
  const layout = packedRingLayout(size, o.indirectEntries)
  const buffer = new SharedArrayBuffer(byteOffset + layout.bytes)
  const driver = new PackedDriver({ size, buffer, guestAddress: GUEST + byteOffset, ...o, byteOffset })
  const at = (offset: number, bytes: number): DataView => new DataView(buffer, byteOffset + offset, bytes)
  const parts = new PlainParts(size, at(layout.desc, 16 * size), at(layout.driverEvent, 4), at(layout.deviceEvent, 4))
  return {
    driver,
    parts,
    device: new PlainPackedDevice(parts, new DataView(buffer), GUEST, o.eventIdx ?? false),
    fresh: () => new PlainPackedDevice(parts, new DataView(buffer), GUEST, o.eventIdx ?? false),
  }
}

const seg = (address: number, length: number, writable = false): ChainSegment => ({ address, length, writable })

t.test('the parts of a ring are aligned and do not overlap', async (t) => {
  for (const size of [1, 2, 3, 7, 100, 255, 1000, 32767, 32768]) {
    const l = packedRingLayout(size, 3)
    t.equal(l.desc % 16 || l.driverEvent % 4 || l.deviceEvent % 4 || l.indirect % 16, 0, `alignment of ring ${size}`)
    t.ok(l.driverEvent >= 16 * size && l.deviceEvent >= l.driverEvent + 4 && l.indirect >= l.deviceEvent + 4)
    t.equal(l.bytes, l.indirect + size * 3 * 16)
  }
})

t.test('refuses rings and areas that virtio does not know', async (t) => {
  const buffer = new ArrayBuffer(4096)
  for (const size of [0, 32769, 1.5]) {
    t.throws(() => new PackedDriver({ size, buffer, byteOffset: 0, guestAddress: 0 }), RangeError)
  }
  t.throws(() => new PackedDriver({ size: 4, buffer, byteOffset: 8, guestAddress: 0 }), RangeError)
  t.throws(() => new PackedDriver({ size: 4, buffer, byteOffset: 0, guestAddress: 4 }), RangeError)
})

t.test('a chain reads back in each style', async (t) => {
  const { driver, device } = ring(7, { indirectEntries: 4 })
  const segments = [seg(0x1000, 51), seg(0xf_ffff_f000, 108, true), seg(0x7fff_ffff_ffff, 4096, true)]
  const styles: PackedChainStyle[] = ['direct', 'indirect', 'direct', 'indirect', 'direct']
  for (const style of styles) {
    const needed = style === 'direct' ? 3 : 1
    const free = driver.freeDescriptors
    const id = driver.add(segments, style)
    t.equal(free - driver.freeDescriptors, needed, `${style} descriptors`)
    t.equal(device.fetch(), undefined, 'not shown yet')
    t.equal(driver.publish(), true)
    t.same(device.fetch(), { id, count: needed, segments }, style)
    t.equal(driver.pending, 0)
    device.complete(id, needed, 77)
    const ids = new Int32Array(8)
    t.equal(driver.pending, 1)
    t.equal(driver.reap(ids), 1)
    t.equal(ids[0], id)
    t.equal(driver.usedLength[id], 77)
    driver.release(id)
    t.equal(driver.freeDescriptors, free)
  }
})

t.test('refuses chains that do not fit or break the order', async (t) => {
  const { driver } = ring(4, { indirectEntries: 2 })
  t.throws(() => driver.prepare([]), RangeError)
  t.throws(() => driver.prepare([seg(0, 1, true), seg(0, 1)]), RangeError)
  t.throws(() => driver.prepare([seg(0, 1), seg(0, 1), seg(0, 1)], 'indirect'), RangeError)
  t.throws(() => driver.prepare([1, 2, 3, 4, 5].map((n) => seg(n, 1))), RangeError)
  const id = driver.add([seg(0, 1), seg(1, 1), seg(2, 1)])
  t.throws(() => driver.prepare([seg(0, 1), seg(1, 1)]), RangeError, 'one descriptor is left')
  t.throws(() => driver.release(id), RangeError, 'in flight')
  t.throws(() => driver.release(3), RangeError, 'no chain')
})

t.test('EVENT_IDX: notifies exactly when the place of the event is passed', async (t) => {
  const { driver, device, parts } = ring(5, { eventIdx: true })
  const chains = [driver.prepare([seg(0, 1)]), driver.prepare([seg(0, 1), seg(1, 1), seg(2, 1)])]
  const ids = new Int32Array(4)
  let notified = 0
  for (let i = 0; i < 4000; i++) {
    const { index, wrap } = device.next
    const id = chains[i % 2]!
    const count = i % 2 === 0 ? 1 : 3
    const ahead = i % 5
    const event = { index: (index + ahead) % 5, wrap: index + ahead >= 5 ? !wrap : wrap }
    setEvent(parts.deviceEvent, i % 11 === 0 ? DISABLE : DESC, event)
    driver.submit(id)
    const wants = i % 11 !== 0 && ahead < count
    if (driver.publish() !== wants) t.fail(`chain ${i}: notified ${!wants}`)
    notified += wants ? 1 : 0
    device.fetch()
    device.complete(id, count, 0)
    driver.reap(ids)
  }
  t.ok(notified > 0 && notified < 4000)
  setEvent(parts.deviceEvent, DESC, device.next)
  t.equal(driver.publish(), false, 'nothing new')
})

t.test('without EVENT_IDX the flags alone decide', async (t) => {
  const { driver, parts } = ring(4)
  for (const [flags, wants] of [
    [1, false],
    [0, true],
    [2, true],
    [3, true],
  ] as const) {
    setEvent(parts.deviceEvent, flags, { index: 3, wrap: false })
    t.same(driver.deviceEvent, { position: 3, flags })
    driver.add([seg(0, 1)])
    t.equal(driver.publish(), wants, `flags ${flags}`)
  }
})

t.test('interrupts are asked for and suppressed', async (t) => {
  for (const eventIdx of [false, true]) {
    const { driver, device } = ring(3, { eventIdx })
    const id = driver.prepare([seg(0, 1)])
    const ids = new Int32Array(4)
    driver.disableInterrupts()
    let interrupts = 0
    const once = () => {
      driver.submit(id)
      driver.publish()
      device.fetch()
      device.complete(id, 1, 0)
      if (device.wantsInterrupt()) interrupts++
      driver.reap(ids)
    }
    for (let i = 0; i < 1000; i++) once()
    t.equal(interrupts, 0, 'none in many laps')
    for (let i = 0; i < 7; i++) {
      t.equal(driver.enableInterrupts(), false)
      once()
      t.equal(interrupts, i + 1)
    }
    once()
    t.equal(interrupts, eventIdx ? 7 : 8, 'once with EVENT_IDX')
    driver.submit(id)
    driver.publish()
    device.fetch()
    device.complete(id, 1, 0)
    t.equal(driver.enableInterrupts(), true, 'a completion was already there')
  }
})

t.test('a device that lies is found out', async (t) => {
  const ids = new Int32Array(8)
  const { driver, device } = ring(8)
  device.complete(0, 1, 0)
  t.throws(() => driver.reap(ids), UsedRingError, 'nothing was submitted')
  t.throws(() => driver.pending, { code: 'VUS_USED_RING' })
  for (const id of [5, 8, 0xffff]) {
    const { driver, device } = ring(8)
    driver.add([seg(0, 1)])
    driver.publish()
    device.complete(id, 1, 0)
    t.throws(() => driver.reap(ids), UsedRingError, `id ${id}`)
    t.throws(() => driver.pending, UsedRingError)
  }
  {
    const { driver, device } = ring(8)
    const id = driver.add([seg(0, 1)])
    driver.add([seg(0, 1)])
    driver.publish()
    device.complete(id, 1, 0)
    device.complete(id, 1, 0)
    t.throws(() => driver.reap(ids), UsedRingError, 'completed twice')
    t.equal(driver.outstanding, 1, 'the first of the two counts')
  }
  {
    const { driver, device } = ring(8)
    const id = driver.add([seg(0, 1)])
    driver.publish()
    device.complete(id, 1, 0)
    device.complete(id, 1, 0)
    t.throws(() => driver.pending, UsedRingError, 'more than there are')
  }
})

t.test('reap takes what fits and leaves the rest', async (t) => {
  const { driver, device } = ring(6)
  const sent = [0, 1, 2, 3, 4].map(() => driver.add([seg(0, 1)]))
  driver.publish()
  for (const id of [...sent].reverse()) device.complete(id, 1, 0)
  t.equal(driver.pending, 5)
  const ids = new Int32Array(2)
  const seen: number[] = []
  for (let n = driver.reap(ids); n > 0; n = driver.reap(ids)) seen.push(...ids.subarray(0, n))
  t.same(seen, [...sent].reverse())
  t.equal(driver.outstanding, 0)
  t.equal(driver.usedIndex, 0x8005)
  t.equal(driver.availIndex, 0x8005)
})

t.test('a length counts only where something was written', async (t) => {
  const { driver, parts } = ring(2)
  const id = driver.add([seg(0, 1)])
  driver.publish()
  parts.write(0, 0n, 1234, id, 0x8080)
  driver.reap(new Int32Array(1))
  t.equal(driver.usedLength[id], 0)
})

t.test('reset makes a fresh ring', async (t) => {
  const r = ring(4)
  r.driver.add([seg(0, 1), seg(1, 1)])
  r.driver.publish()
  r.driver.disableInterrupts()
  r.driver.reset()
  t.equal(r.driver.freeDescriptors, 4)
  t.equal(r.driver.availIndex, 0x8000)
  t.equal(r.driver.usedIndex, 0x8000)
  t.equal(r.parts.driverEvent.getUint32(0, true), 0)
  const device = r.fresh()
  t.equal(device.fetch(), undefined)
  const id = r.driver.add([seg(9, 9)])
  r.driver.publish()
  t.same(device.fetch(), { id, count: 1, segments: [seg(9, 9)] })
})

t.test('raw access writes what no driver should', async (t) => {
  const { driver, parts } = ring(4, { indirectEntries: 2 })
  driver.writeDescriptor(1, 0xffff_ffff_f000, 0xffff_ffff, 0xffff, 0xfffe)
  t.same(parts.descriptor(1), { address: 0xffff_ffff_f000n, length: 0xffff_ffff, flags: 0xffff, id: 0xfffe })
  t.throws(() => driver.writeIndirectDescriptor(0, 2, 0, 0, 0, 0), RangeError)
  driver.writeDriverEvent(packedPosition(7, 1), 3)
  t.equal(parts.driverEvent.getUint32(0, true), 0x0003_8007)
})

t.test('property: any mix of chains comes back whole, in any order of completion', async (t) => {
  const step = fc.record({
    style: fc.constantFrom<PackedChainStyle>('direct', 'indirect'),
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
  let laps = 0
  const property = fc.property(
    fc.oneof(fc.integer({ min: 1, max: 9 }), fc.constantFrom(16, 61)),
    fc.array(step, { maxLength: 80, size: 'max' }),
    (size, steps) => {
      const { driver, device } = ring(size, { indirectEntries: 5 })
      const model = new Map<number, ChainSegment[]>()
      const held: { id: number; count: number }[] = []
      const ids = new Int32Array(size)
      let free = size
      const cost = new Map<number, number>()
      const drain = () => {
        for (let chain = device.fetch(); chain !== undefined; chain = device.fetch()) {
          if (JSON.stringify(chain.segments) !== JSON.stringify(model.get(chain.id))) throw new Error('chain differs')
          held.push(chain)
          laps += chain.count / size
        }
      }
      for (const s of steps) {
        const need = s.style === 'direct' ? s.segments.length : 1
        if (need > free) {
          let refused = false
          try {
            driver.prepare(s.segments, s.style)
          } catch (error) {
            refused = error instanceof RangeError
          }
          if (!refused) throw new Error('took more than is free')
        } else {
          const id = driver.add(s.segments, s.style)
          if (model.has(id)) throw new Error('id in use twice')
          model.set(id, s.segments)
          cost.set(id, need)
          free -= need
        }
        if (s.publish) {
          driver.publish()
          drain()
        }
        for (let i = 0; i < s.complete && held.length > 0; i++) {
          const [{ id, count }] = held.splice(s.pick % held.length, 1) as [{ id: number; count: number }]
          device.complete(id, count, id * 3)
        }
        if (driver.pending > driver.outstanding) throw new Error('more are pending than outstanding')
        const count = driver.reap(ids)
        for (let i = 0; i < count; i++) {
          const id = ids[i]!
          if (driver.usedLength[id] !== id * 3) throw new Error('length differs')
          if (!model.delete(id)) throw new Error('completed what was not in flight')
          free += cost.get(id)!
          driver.release(id)
        }
        if (driver.freeDescriptors !== free) throw new Error('free descriptors differ')
        if (driver.outstanding !== model.size) throw new Error('outstanding differs')
      }
    },
  )
  fc.assert(property, { numRuns: times(300) })
  t.ok(laps > times(300), `the rings went round ${Math.floor(laps)} times`)
})
