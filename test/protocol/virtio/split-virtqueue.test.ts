import fc from 'fast-check'
import { Mapping } from 'memfd-mmap'
import t from 'tap'
import {
  AVAIL_F_NO_INTERRUPT,
  availBytes,
  availEventOffset,
  DirtyLog,
  descBytes,
  LoggedRange,
  SplitDriver,
  SplitVirtqueue,
  splitRingLayout,
  USED_F_NO_NOTIFY,
  usedBytes,
  usedEventOffset,
} from 'vhost-user-protocol-ts'
import { times } from '../../support/long.js'

/** A queue over three areas of its own, all of which the test can read and write. */
function bare(size: number, o: { base?: number; usedIdx?: number; eventIdx?: boolean } = {}) {
  const desc = new SharedArrayBuffer(descBytes(size))
  const avail = new SharedArrayBuffer(availBytes(size))
  const used = new SharedArrayBuffer(usedBytes(size))
  const base = o.base ?? 0
  const view = { avail: new DataView(avail), used: new DataView(used) }
  view.avail.setUint16(2, base, true)
  view.used.setUint16(2, o.usedIdx ?? base, true)
  const queue = new SplitVirtqueue({ size, desc, avail, used, base, eventIdx: o.eventIdx ?? false })
  return {
    queue,
    setAvail: (index: number) => view.avail.setUint16(2, index & 0xffff, true),
    setHead: (slot: number, head: number) => view.avail.setUint16(4 + 2 * slot, head, true),
    setInterruptFlag: (flags: number) => view.avail.setUint16(0, flags, true),
    setUsedEvent: (index: number) => view.avail.setUint16(usedEventOffset(size), index & 0xffff, true),
    usedIdx: () => view.used.getUint16(2, true),
    usedFlags: () => view.used.getUint16(0, true),
    availEvent: () => view.used.getUint16(availEventOffset(size), true),
    usedElement: (slot: number) => [
      view.used.getUint32(4 + 8 * slot, true),
      view.used.getUint32(4 + 8 * slot + 4, true),
    ],
  }
}

t.test('fetches what is available, once, in order', async (t) => {
  const r = bare(4)
  t.equal(r.queue.available(), 0)
  t.equal(r.queue.hasAvailable(), false)
  r.setHead(0, 3)
  r.setHead(1, 1)
  r.setHead(2, 0xffff)
  r.setAvail(3)
  t.equal(r.queue.hasAvailable(), true)
  t.equal(r.queue.available(), 3)
  t.equal(r.queue.fetch(), 3)
  t.equal(r.queue.fetch(), 1)
  t.equal(r.queue.fetch(), 0xffff, 'a head is the driver’s number: not checked here')
  t.equal(r.queue.nextAvailable, 3)
  t.equal(r.queue.available(), 0)
  t.equal(r.queue.hasAvailable(), false)
})

t.test('a head that was put back is fetched again', async (t) => {
  const r = bare(2, { base: 0 })
  r.setHead(0, 1)
  r.setAvail(1)
  t.equal(r.queue.fetch(), 1)
  r.queue.unfetch()
  t.equal(r.queue.nextAvailable, 0)
  t.equal(r.queue.available(), 1)
  t.equal(r.queue.fetch(), 1)
  const wrapped = bare(2, { base: 0xffff })
  wrapped.setHead(1, 1)
  wrapped.setAvail(0)
  t.equal(wrapped.queue.available(), 1)
  wrapped.queue.fetch()
  t.equal(wrapped.queue.nextAvailable, 0)
  wrapped.queue.unfetch()
  t.equal(wrapped.queue.nextAvailable, 0xffff, 'over the wrap')
})

t.test('an available index that is more than a ring ahead, or behind, is refused', async (t) => {
  for (const base of [0, 1000, 0xfffe]) {
    const r = bare(8, { base })
    for (const [ahead, expected] of [
      [0, 0],
      [1, 1],
      [8, 8],
      [9, -1],
      [32768, -1],
      [-1, -1],
    ] as const) {
      r.setAvail(base + ahead)
      t.equal(r.queue.available(), expected, `base ${base}, ${ahead} ahead`)
    }
    t.equal(r.queue.hasAvailable(), true, 'a broken index is something to look at')
  }
  const largest = bare(32768, { base: 7 })
  largest.setAvail(7 + 32768)
  t.equal(largest.queue.available(), 32768)
  largest.setAvail(7 + 32769)
  t.equal(largest.queue.available(), -1)
})

t.test('used elements are seen when they are published, over the wrap of slots and index', async (t) => {
  const r = bare(4, { base: 0xfffe })
  t.equal(r.queue.unpublished, false)
  t.equal(r.queue.publish(), false, 'nothing to publish, nothing to tell')
  for (let i = 0; i < 4; i++) r.queue.push(i, 100 + i)
  t.equal(r.queue.unpublished, true)
  t.equal(r.usedIdx(), 0xfffe)
  t.equal(r.queue.publish(), true)
  t.equal(r.usedIdx(), 2)
  t.equal(r.queue.unpublished, false)
  t.same([2, 3, 0, 1].map(r.usedElement), [
    [0, 100],
    [1, 101],
    [2, 102],
    [3, 103],
  ])
  r.queue.push(3, 0xffffffff)
  r.queue.publish()
  t.same(r.usedElement(2), [3, 0xffffffff], 'lengths have 32 bits')
})

t.test('the used index goes on from memory, wherever the base is', async (t) => {
  const r = bare(4, { base: 10, usedIdx: 8 })
  r.queue.push(1, 1)
  r.queue.publish()
  t.equal(r.usedIdx(), 9)
  t.equal(r.queue.nextAvailable, 10)
})

t.test('notifications by flags', async (t) => {
  const r = bare(4)
  r.queue.push(0, 0)
  t.equal(r.queue.publish(), true)
  r.setInterruptFlag(AVAIL_F_NO_INTERRUPT)
  r.queue.push(0, 0)
  t.equal(r.queue.publish(), false, 'the driver wants none')
  r.queue.disableNotifications()
  t.equal(r.usedFlags(), USED_F_NO_NOTIFY)
  t.equal(r.queue.enableNotifications(), false)
  t.equal(r.usedFlags(), 0)
  t.equal(r.availEvent(), 0, 'avail_event is not touched')
  r.queue.disableNotifications()
  r.setAvail(1)
  t.equal(r.queue.enableNotifications(), true, 'something came in before the driver could know')
})

t.test('notifications by index', async (t) => {
  const r = bare(4, { eventIdx: true, base: 0xffff })
  r.setInterruptFlag(AVAIL_F_NO_INTERRUPT)
  r.setUsedEvent(0xffff)
  r.queue.push(0, 0)
  t.equal(r.queue.publish(), true, 'the flag counts for nothing')
  r.setUsedEvent(2)
  r.queue.push(0, 0)
  r.queue.push(0, 0)
  t.equal(r.queue.publish(), false, 'not yet')
  r.queue.push(0, 0)
  t.equal(r.queue.publish(), true, 'passed')
  t.equal(r.queue.enableNotifications(), false)
  t.equal(r.availEvent(), 0xffff)
  r.queue.disableNotifications()
  t.equal(r.usedFlags(), 0, 'flags are not touched')
  t.equal(r.availEvent(), 0xfffe)
  r.setAvail(0)
  t.equal(r.queue.enableNotifications(), true)
  r.queue.available()
  r.queue.fetch()
  t.equal(r.queue.enableNotifications(), false)
  t.equal(r.availEvent(), 0)
  r.queue.disableNotifications()
  t.equal(r.availEvent(), 0xffff, 'the driver is beyond it, though it has added nothing since')
})

/** The device's side as numbers that never wrap. */
class NaiveDevice {
  /** Next available index to fetch, used index, and as much of it as the driver sees. */
  next: number
  used: number
  published: number

  constructor(start: number) {
    this.next = this.used = this.published = start
  }

  /** Whether the driver, who left `event` and `flags`, is to be told of what becomes visible now. */
  publish(eventIdx: boolean, event: number, flags: number): boolean {
    let passed = false
    for (let i = this.published; i < this.used; i++) passed ||= (i & 0xffff) === event
    const any = this.used > this.published
    this.published = this.used
    return any && (eventIdx ? passed : (flags & AVAIL_F_NO_INTERRUPT) === 0)
  }
}

const COUNTED = ['add', 'fetch', 'push'] as const
const PLAIN = ['unfetch', 'publish', 'reap', 'interrupts on', 'interrupts off', 'arm', 'disarm'] as const
type Step = readonly [what: (typeof COUNTED)[number] | (typeof PLAIN)[number], count: number]

const step: fc.Arbitrary<Step> = fc.tuple(
  fc.oneof({ weight: 2, arbitrary: fc.constantFrom(...COUNTED) }, { weight: 1, arbitrary: fc.constantFrom(...PLAIN) }),
  fc.nat(9),
)

function expect<T>(actual: T, expected: T, what: string): void {
  if (actual !== expected) throw new Error(`${what}: ${actual}, not ${expected}`)
}

/** A driver and a device over one ring that has been used `start` times, and the model of what must come of it. */
class Run {
  readonly #driver: SplitDriver
  readonly #device: SplitVirtqueue
  readonly #model: NaiveDevice
  readonly #avail: DataView
  readonly #eventIdx: boolean
  readonly #size: number
  readonly #heads = new Int32Array(256)
  /** Heads in the ring, in the order of their fetches; in flight; and completed with their lengths. */
  readonly #waiting: number[] = []
  readonly #fetched: number[] = []
  readonly #flying: number[] = []
  readonly #completed: [head: number, length: number][] = []
  /** Where the device asked for a notification last; by flags: whether it wants one. */
  #armedAt: number | undefined
  #armed = true

  constructor(mapping: Mapping, size: number, start: number, eventIdx: boolean) {
    const layout = splitRingLayout(size)
    const areas = {
      desc: mapping.view(layout.desc, descBytes(size)),
      avail: mapping.view(layout.avail, availBytes(size)),
      used: mapping.view(layout.used, usedBytes(size)),
    }
    this.#size = size
    this.#eventIdx = eventIdx
    this.#avail = new DataView(areas.avail)
    this.#driver = new SplitDriver({ size, buffer: mapping.view(), byteOffset: 0, guestAddress: 0x10000, eventIdx })
    const before = new SplitVirtqueue({ size, ...areas, base: 0, eventIdx })
    const head = this.#driver.prepare([{ address: 0, length: 1, writable: true }])
    for (let i = 0; i < start; i++) {
      this.#driver.submit(head)
      this.#driver.publish()
      before.push(before.fetch(), 0)
      before.publish()
      this.#driver.reap(this.#heads)
    }
    this.#driver.release(head)
    this.#driver.enableInterrupts()
    this.#device = new SplitVirtqueue({ size, ...areas, base: start & 0xffff, eventIdx })
    this.#device.enableNotifications()
    this.#armedAt = start
    this.#model = new NaiveDevice(start)
  }

  apply([what, count]: Step): void {
    if (what === 'add') this.#add(count)
    else if (what === 'fetch') this.#fetch(count)
    else if (what === 'push') this.#push(count)
    else if (what === 'unfetch') this.#unfetch()
    else if (what === 'publish') this.#publish()
    else if (what === 'reap') this.#reap()
    else if (what === 'interrupts on') this.#driver.enableInterrupts()
    else if (what === 'interrupts off') this.#driver.disableInterrupts()
    else if (what === 'arm') this.#arm()
    else this.#disarm()
    expect(this.#device.nextAvailable, this.#model.next & 0xffff, 'next available')
    expect(this.#device.unpublished, this.#model.used > this.#model.published, 'unpublished')
    expect(this.#driver.deviceUsedIndex, this.#model.published & 0xffff, 'used index in memory')
    expect(this.#device.available(), this.#waiting.length, 'available')
    expect(this.#device.hasAvailable(), this.#waiting.length > 0, 'hasAvailable')
  }

  #add(count: number): void {
    const before = this.#model.next + this.#waiting.length
    const added = Math.min(count, this.#driver.freeDescriptors)
    for (let i = 0; i < added; i++) {
      this.#waiting.push(this.#driver.add([{ address: 0, length: 64, writable: true }]))
    }
    const passed = this.#armedAt !== undefined && this.#armedAt >= before && this.#armedAt < before + added
    expect(this.#driver.publish(), added > 0 && (this.#eventIdx ? passed : this.#armed), 'kick')
  }

  #fetch(count: number): void {
    for (let i = Math.min(count, this.#waiting.length); i > 0; i--) {
      const head = this.#device.fetch()
      expect(head, this.#waiting.shift(), 'head')
      this.#flying.push(head)
      this.#fetched.push(head)
      this.#model.next++
    }
  }

  #unfetch(): void {
    const place = this.#flying.indexOf(this.#fetched.at(-1) ?? -1)
    if (place < 0) return
    this.#waiting.unshift(this.#flying.splice(place, 1)[0]!)
    this.#fetched.pop()
    this.#device.unfetch()
    this.#model.next--
  }

  #push(count: number): void {
    for (let i = Math.min(count, this.#flying.length); i > 0; i--) {
      // Out of order, as disks complete.
      const head = this.#flying.splice((i * 7) % this.#flying.length, 1)[0]!
      const length = (this.#model.used * 0x9e3779b1) >>> 0
      this.#device.push(head, length)
      this.#completed.push([head, length])
      this.#model.used++
    }
  }

  #publish(): void {
    const event = this.#avail.getUint16(usedEventOffset(this.#size), true)
    const flags = this.#avail.getUint16(0, true)
    expect(this.#device.publish(), this.#model.publish(this.#eventIdx, event, flags), 'interrupt')
  }

  #reap(): void {
    this.#publish()
    expect(this.#driver.reap(this.#heads), this.#completed.length, 'reaped')
    this.#completed.splice(0).forEach(([head, length], i) => {
      expect(this.#heads[i], head, 'used id')
      expect(this.#driver.usedLength[head], length, 'used len')
      this.#driver.release(head)
    })
  }

  #arm(): void {
    expect(this.#device.enableNotifications(), this.#waiting.length > 0, 'armed too late')
    this.#armedAt = this.#model.next
    this.#armed = true
  }

  #disarm(): void {
    this.#device.disableNotifications()
    this.#armedAt = this.#model.next - 1
    this.#armed = false
  }
}

t.test('any interleaving of a driver and the device agrees with the model', async (t) => {
  const size = fc.constantFrom(1, 2, 4, 8, 64, 256)
  const start = fc.oneof(fc.nat(20), fc.integer({ min: 65520, max: 65540 }))
  fc.assert(
    fc.property(
      size,
      start,
      fc.boolean(),
      fc.array(step, { minLength: 20, maxLength: 120 }),
      (size, start, eventIdx, steps) => {
        const mapping = Mapping.anonymous(splitRingLayout(size).bytes)
        try {
          const run = new Run(mapping, size, start, eventIdx)
          for (const each of steps) run.apply(each)
        } finally {
          mapping.retire()
        }
      },
    ),
    { numRuns: times(300) },
  )
  t.pass('heads, lengths, indexes and both kinds of notification')
})

for (const eventIdx of [true, false]) {
  t.test(`writes to the used ring are logged, ${eventIdx ? 'by index' : 'by flags'}`, async (t) => {
    const size = 1024
    const bits = new SharedArrayBuffer(8)
    const words = new Uint32Array(bits)
    const usedLog = new LoggedRange(new DirtyLog(bits), 4096, usedBytes(size))
    const desc = new SharedArrayBuffer(descBytes(size))
    const avail = new SharedArrayBuffer(availBytes(size))
    const used = new SharedArrayBuffer(usedBytes(size))
    const queue = new SplitVirtqueue({ size, desc, avail, used, base: 0, eventIdx, usedLog })
    const marked = (): number => {
      const word = words[0]!
      words[0] = 0
      return word
    }
    new DataView(avail).setUint16(2, 2, true)
    queue.available()
    queue.push(queue.fetch(), 1)
    queue.push(queue.fetch(), 1)
    t.equal(marked(), 0, 'the driver does not look at it before it is published')
    queue.publish()
    t.equal(marked(), 0b1110, 'all pages of it')
    queue.publish()
    t.equal(marked(), 0, 'nothing new')
    queue.enableNotifications()
    t.equal(marked(), 0b1110)
    queue.disableNotifications()
    t.equal(marked(), 0b1110)
  })
}
